//! Sessions, scheduler, sampling, stop strings, text streams, constraints.
