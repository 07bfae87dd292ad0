//! What the table shows: a model's figures, and their medians over rounds.

use crate::{median, Bandwidth};

/// What one round measured: tokens per second, where nothing else is said; what was not measured is `None`.
#[derive(Default)]
pub struct Rates {
    pub prefill_long: Option<f64>,
    pub prefill_short: Option<f64>,
    pub decode: Option<f64>,
    pub decode_single: Option<f64>,
    pub decode_late: Option<f64>,
    pub eight: Option<f64>,
    pub sixteen: Option<f64>,
    pub bytes_per_token: Option<f64>,
    /// Of the keys and values of the long context.
    pub context_bytes: Option<f64>,
    pub start_seconds: Option<f64>,
    pub memory_bytes: Option<f64>,
}

/// A column's width, the decimals of its figures, and whether ours over the peer's means something.
struct Column {
    name: &'static str,
    width: usize,
    decimals: usize,
    compared: bool,
}

const fn column(name: &'static str, width: usize, decimals: usize, compared: bool) -> Column {
    Column { name, width, decimals, compared }
}

/// An empty name stands for the late decoding's, which has its length in it.
const COLUMNS: [Column; 13] = [
    column("pre 512", 8, 1, true),
    column("pre 16", 8, 1, true),
    column("decode", 8, 2, true),
    column("of bw", 5, 2, false),
    column("1 thread", 8, 2, true),
    column("of bw", 5, 2, false),
    column("8 sess", 6, 2, false),
    column("16 sess", 7, 2, false),
    column("", 8, 2, true),
    column("longer %", 8, 1, false),
    column("by kv %", 7, 1, false),
    column("start", 6, 2, true),
    column("memory", 6, 0, false),
];

/// The table's first line.
pub fn head(context: u32) -> String {
    let late = format!("at {context}");
    COLUMNS.iter().fold(format!("{:<20}", "model"), |line, column| {
        let name = if column.name.is_empty() { &late } else { column.name };
        format!("{line} {name:>width$}", width = column.width)
    })
}

/// What a line shows, by column.
pub struct Figures([Option<f64>; COLUMNS.len()]);

impl Figures {
    /// `model` knows the bytes that each token reads, for whoever read them.
    pub fn of(rates: &Rates, model: &Rates, bandwidth: &Bandwidth) -> Self {
        let share = |rate: Option<f64>, of: f64| Some(rate? * model.bytes_per_token? / of);
        let over_one = |rate: Option<f64>| Some(rate? / rates.decode?);
        let longer = || Some((rates.decode? / rates.decode_late? - 1.0) * 100.0);
        let explained = || Some(model.context_bytes? / model.bytes_per_token? * 100.0);
        Self([
            rates.prefill_long,
            rates.prefill_short,
            rates.decode,
            share(rates.decode, bandwidth.all),
            rates.decode_single,
            share(rates.decode_single, bandwidth.single),
            over_one(rates.eight),
            over_one(rates.sixteen),
            rates.decode_late,
            longer(),
            rates.decode_late.and_then(|_| explained()),
            rates.start_seconds,
            rates.memory_bytes.map(|bytes| bytes / f64::from(1 << 20)),
        ])
    }

    /// How many times as fast; of the start, how many times as long it takes.
    pub fn over(&self, other: &Self) -> Self {
        Self(std::array::from_fn(|at| COLUMNS[at].compared.then_some(self.0[at]? / other.0[at]?)))
    }

    /// Each column's median.
    pub fn medians(rounds: &[Self]) -> Self {
        let of = |at: usize| rounds.iter().map(|round| round.0[at]).collect::<Option<Vec<f64>>>();
        Self(std::array::from_fn(|at| of(at).map(|values| median(values.into_iter()))))
    }

    /// Under the name.
    pub fn line(&self, name: &str, decimals: Option<usize>) -> String {
        COLUMNS.iter().zip(self.0).fold(format!("{name:<20}"), |line, (column, figure)| {
            let decimals = decimals.unwrap_or(column.decimals);
            let shown = figure.map_or_else(|| "-".to_owned(), |figure| format!("{figure:.decimals$}"));
            format!("{line} {shown:>width$}", width = column.width)
        })
    }
}
