//! What the model thinks of a given text, token by token.

use super::evaluation::{reserved, Evaluation};
use crate::engine::Output;
use crate::error::{Code, Error, Result};

/// What scoring gives for each position.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ScoreKind {
    /// All logits after the position: one row of the vocabulary's size for each position from `first` on.
    Logits,
    /// The log-probability of the token at the position after those before it: one number for each position from `first`
    /// on, which is at least 1, since nothing comes before the first token.
    LogProbabilities,
}

/// Scores `tokens` from position `first` on.
pub(super) fn score(evaluation: &Evaluation, tokens: &[u32], first: usize, kind: ScoreKind) -> Result<Vec<f32>> {
    if first >= tokens.len() {
        let detail = format!("first: position {first} is outside the {} tokens", tokens.len());
        return Err(Error::new(Code::InvalidParameter, detail));
    }
    match kind {
        ScoreKind::Logits => logits(evaluation, tokens, first),
        ScoreKind::LogProbabilities if first == 0 => Err(Error::new(
            Code::InvalidParameter,
            "first: the token at position 0 has no log-probability, as nothing comes before it; begin at 1",
        )),
        ScoreKind::LogProbabilities => log_probabilities(evaluation, tokens, first),
    }
}

fn logits(evaluation: &Evaluation, tokens: &[u32], first: usize) -> Result<Vec<f32>> {
    let mut all = reserved((tokens.len() - first).saturating_mul(Output::Logits.floats(evaluation.weights)))?;
    evaluation.run(tokens, first, Output::Logits, &mut |_, logits| {
        all.extend_from_slice(logits);
        Ok(())
    })?;
    Ok(all)
}

fn log_probabilities(evaluation: &Evaluation, tokens: &[u32], first: usize) -> Result<Vec<f32>> {
    let mut all = reserved(tokens.len() - first)?;
    // The last token need not run: nothing is asked of what comes after it. It is checked with the others, though.
    super::evaluation::check_tokens("tokens", tokens, evaluation.weights.description().vocabulary)?;
    let given = &tokens[..tokens.len() - 1];
    evaluation.run(given, first - 1, Output::Logits, &mut |position, logits| {
        all.push(log_probability(logits, tokens[position + 1] as usize)?);
        Ok(())
    })?;
    Ok(all)
}

fn log_probability(logits: &[f32], token: usize) -> Result<f32> {
    Ok(super::sampling::ModelLogprobs::new(logits, 0)?.of(logits[token]).chosen)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn log_probabilities_are_those_of_a_softmax() {
        let logits = [1.0f32, 2.0, 0.5, -3.0];
        let total: f64 = logits.iter().map(|&logit| f64::from(logit).exp()).sum();
        for (token, &logit) in logits.iter().enumerate() {
            let expected = f64::from(logit) - total.ln();
            assert!((f64::from(log_probability(&logits, token).unwrap()) - expected).abs() < 1e-6);
        }
        assert_eq!(log_probability(&[0.0, f32::NAN], 0).unwrap_err().code, Code::InferenceFailed);
    }
}
