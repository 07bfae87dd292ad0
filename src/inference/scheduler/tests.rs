//! The scheduler with an imitated engine, which computes every logit from all the tokens that it finds in the pages it
//! is told of: a page mixed up, lost or reused wrongly changes the tokens.

mod fake;
mod life;
mod load;
mod tokens;
