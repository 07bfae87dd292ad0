//! A text as a vector: the model's hidden states, after its last norm, brought together.

use super::evaluation::{floats_of, reserved, Evaluation};
use crate::engine::Output;
use crate::error::{Code, Error, Result};

/// How the hidden states of a text's tokens become the result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pooling {
    /// They do not: one vector for each token.
    None,
    /// Their mean.
    Mean,
    /// The first token's.
    First,
    /// The last token's, which alone has seen the whole text.
    Last,
}

/// The embedding of `tokens`; `normalise` scales each vector to length 1.
pub(super) fn embed(evaluation: &Evaluation, tokens: &[u32], pooling: Pooling, normalise: bool) -> Result<Vec<f32>> {
    let width = Output::Hidden.floats(evaluation.weights);
    let last = tokens.len().saturating_sub(1);
    let (tokens, first) = match pooling {
        Pooling::None | Pooling::Mean => (tokens, 0),
        // What comes after a token does not change it.
        Pooling::First => (&tokens[..tokens.len().min(1)], 0),
        Pooling::Last => (tokens, last),
    };
    let mut result = match pooling {
        Pooling::None => {
            let mut all = reserved(tokens.len().saturating_mul(width))?;
            evaluation.run(tokens, first, Output::Hidden, &mut |_, hidden| {
                all.extend_from_slice(hidden);
                Ok(())
            })?;
            all
        }
        Pooling::Mean | Pooling::First | Pooling::Last => {
            let mut sum = vec![0f64; width];
            evaluation.run(tokens, first, Output::Hidden, &mut |_, hidden| {
                sum.iter_mut().zip(hidden).for_each(|(sum, &value)| *sum += f64::from(value));
                Ok(())
            })?;
            let mut mean = floats_of(width)?;
            let count = (tokens.len() - first) as f64;
            mean.iter_mut().zip(sum).for_each(|(mean, sum)| *mean = (sum / count) as f32);
            mean
        }
    };
    if result.iter().any(|value| !value.is_finite()) {
        return Err(Error::new(Code::InferenceFailed, "the model's hidden state holds values that are not finite"));
    }
    if normalise {
        result.chunks_exact_mut(width.max(1)).for_each(scale_to_length_one);
    }
    Ok(result)
}

/// Leaves a vector of zeros as it is.
fn scale_to_length_one(vector: &mut [f32]) {
    let length = vector.iter().map(|&value| f64::from(value).powi(2)).sum::<f64>().sqrt();
    if length > 0.0 {
        vector.iter_mut().for_each(|value| *value = (f64::from(*value) / length) as f32);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vectors_are_scaled_to_length_one() {
        let mut vector = [3.0, 0.0, -4.0];
        scale_to_length_one(&mut vector);
        assert_eq!(vector, [0.6, 0.0, -0.8]);
        let mut zeros = [0.0; 3];
        scale_to_length_one(&mut zeros);
        assert_eq!(zeros, [0.0; 3]);
    }
}
