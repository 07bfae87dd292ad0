//! What a template may use: Jinja as Hugging Face's tokenizers set it up.

use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

use minijinja::value::Kwargs;
use minijinja::{Environment, Error, ErrorKind, Value};

use super::json;

/// The error that a template raised itself, about the messages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Raised(pub(super) String);

/// The environment, without templates.
pub(super) fn environment() -> Environment<'static> {
    let mut environment = Environment::new();
    environment.set_trim_blocks(true);
    environment.set_lstrip_blocks(true);
    environment.set_fuel(Some(STEPS));
    environment.set_recursion_limit(DEEPEST_CALL);
    // A model is not a web page: nothing is escaped.
    environment.set_auto_escape_callback(|_| minijinja::AutoEscape::None);
    environment.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
    environment.add_function("raise_exception", raise_exception);
    environment.add_function("strftime_now", |format: &str| now_as(format));
    environment.add_filter("tojson", to_json);
    environment
}

/// The error that the template raised, if it is one.
pub(super) fn raised(error: &Error) -> Option<Raised> {
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        if let Some(raised) = cause.downcast_ref::<Raised>() {
            return Some(raised.clone());
        }
        source = cause.source();
    }
    None
}

/// Hugging Face marks what the assistant said by a tag of its own, which means nothing here: it becomes `if true`.
pub(super) fn without_generation_tags(source: &str) -> String {
    let mut out = String::with_capacity(source.len());
    let mut rest = source;
    while let Some(start) = rest.find("{%") {
        let (before, tag) = rest.split_at(start + 2);
        out.push_str(before);
        rest = tag;
        let word = tag.trim_start_matches(['-', '+']).trim_start();
        let (replacement, after) = if let Some(after) = word.strip_prefix("generation") {
            ("if true", after)
        } else if let Some(after) = word.strip_prefix("endgeneration") {
            ("endif", after)
        } else {
            continue;
        };
        if after.trim_start().trim_start_matches(['-', '+']).starts_with("%}") {
            out.push_str(&tag[..tag.len() - word.len()]);
            out.push_str(replacement);
            rest = after;
        }
    }
    out.push_str(rest);
    out
}

fn raise_exception(message: &str) -> Result<Value, Error> {
    Err(Error::new(ErrorKind::InvalidOperation, message.to_owned()).with_source(Raised(message.to_owned())))
}

fn to_json(value: &Value, options: Kwargs) -> Result<Value, Error> {
    let indent = match options.get::<Option<Value>>("indent")? {
        None => None,
        Some(indent) => Some(indent.as_usize().filter(|indent| *indent <= 16).ok_or_else(|| {
            Error::new(ErrorKind::InvalidOperation, format!("tojson: expected an indent of 0 to 16, found {indent}"))
        })?),
    };
    let only_ascii = options.get::<Option<bool>>("ensure_ascii")?.unwrap_or(false);
    let separators = match options.get::<Option<Vec<String>>>("separators")?.as_deref() {
        None => None,
        Some([item, key]) => Some((item.clone(), key.clone())),
        Some(_) => return Err(Error::new(ErrorKind::InvalidOperation, "tojson: expected two separators")),
    };
    let sorted = options.get::<Option<bool>>("sort_keys")?.unwrap_or(false);
    options.assert_all_used()?;
    let text = json::dumps(value, indent, separators, only_ascii, sorted)
        .map_err(|error| Error::new(ErrorKind::BadSerialization, error.to_string()))?;
    Ok(Value::from_safe_string(text))
}

/// The time now, in UTC, by the common directives of C's `strftime`.
fn now_as(format: &str) -> String {
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    formatted(seconds, format)
}

fn formatted(seconds: u64, format: &str) -> String {
    let (days, second_of_day) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day, day_of_year) = civil_date(days);
    let weekday = ((days + 4) % 7) as usize;
    let (hour, minute, second) = (second_of_day / 3600, second_of_day / 60 % 60, second_of_day % 60);
    let hour_of_twelve = (hour + 11) % 12 + 1;
    let mut out = String::new();
    let mut characters = format.chars();
    while let Some(character) = characters.next() {
        if character != '%' {
            out.push(character);
            continue;
        }
        let mut directive = characters.next();
        // glibc's flag for no leading zero.
        let bare = directive == Some('-');
        if bare {
            directive = characters.next();
        }
        let padded = |number: u64, width: usize| if bare { number.to_string() } else { format!("{number:0width$}") };
        out.push_str(&match directive {
            Some('Y') => year.to_string(),
            Some('y') => padded(year % 100, 2),
            Some('m') => padded(month, 2),
            Some('d') => padded(day, 2),
            Some('e') => {
                if bare {
                    day.to_string()
                } else {
                    format!("{day:2}")
                }
            }
            Some('j') => padded(day_of_year, 3),
            Some('H') => padded(hour, 2),
            Some('I') => padded(hour_of_twelve, 2),
            Some('M') => padded(minute, 2),
            Some('S') => padded(second, 2),
            Some('p') => if hour < 12 { "AM" } else { "PM" }.to_owned(),
            Some('B') => MONTHS[month as usize - 1].to_owned(),
            Some('b' | 'h') => MONTHS[month as usize - 1][..3].to_owned(),
            Some('A') => WEEKDAYS[weekday].to_owned(),
            Some('a') => WEEKDAYS[weekday][..3].to_owned(),
            Some('F') => format!("{year}-{month:02}-{day:02}"),
            Some('T') => format!("{hour:02}:{minute:02}:{second:02}"),
            Some('Z') => "UTC".to_owned(),
            Some('z') => "+0000".to_owned(),
            Some('%') | None => "%".to_owned(),
            Some(other) => format!("%{other}"),
        });
    }
    out
}

/// Year, month, day of the month and day of the year, the latter three from 1, of a day since 1970-01-01.
fn civil_date(days: u64) -> (u64, u64, u64, u64) {
    let (mut year, mut rest) = (1970 + days / 146_097 * 400, days % 146_097);
    let is_leap = |year: u64| year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    while rest >= 365 + u64::from(is_leap(year)) {
        rest -= 365 + u64::from(is_leap(year));
        year += 1;
    }
    let day_of_year = rest + 1;
    let mut month = 1;
    for length in [31, 28 + u64::from(is_leap(year)), 31, 30, 31, 30, 31, 31, 30, 31, 30] {
        if rest < length {
            break;
        }
        rest -= length;
        month += 1;
    }
    (year, month, rest + 1, day_of_year)
}

impl fmt::Display for Raised {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl std::error::Error for Raised {}

/// Steps of the interpreter: some ten thousand messages.
const STEPS: u64 = 2_000_000;
const DEEPEST_CALL: usize = 100;
const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const WEEKDAYS: [&str; 7] = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_the_calendar() {
        let all = "%Y-%m-%d %H:%M:%S %j %A %a %B %b %I %p %y %-d %e %%";
        assert_eq!(formatted(0, all), "1970-01-01 00:00:00 001 Thursday Thu January Jan 12 AM 70 1  1 %");
        assert_eq!(formatted(951_827_696, all), "2000-02-29 12:34:56 060 Tuesday Tue February Feb 12 PM 00 29 29 %");
        assert_eq!(formatted(1_735_689_599, "%F %T %j"), "2024-12-31 23:59:59 366");
        assert_eq!(formatted(4_107_542_400, "%d %b %Y %Q"), "01 Mar 2100 %Q");
    }

    #[test]
    fn generation_tags_become_conditions() {
        assert_eq!(
            without_generation_tags("a{%- generation -%}b{% endgeneration %}c"),
            "a{%- if true -%}b{% endif %}c"
        );
        assert_eq!(without_generation_tags("{% generation_x %}{% if a %}"), "{% generation_x %}{% if a %}");
    }
}
