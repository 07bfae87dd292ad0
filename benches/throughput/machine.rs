//! What the machine gives: read bandwidth, and how much memory a process held.

use std::time::Instant;

/// Bytes per second that plain reads reach, all threads together: the best of some passes, since whatever else runs only
/// takes away from it.
pub fn read_bandwidth(threads: u32) -> f64 {
    const WORDS: usize = 64 << 20;
    const PASSES: usize = 5;
    let buffers: Vec<Vec<u64>> = (0..threads).map(|seed| vec![u64::from(seed) + 1; WORDS]).collect();
    let pass = || {
        let begun = Instant::now();
        std::thread::scope(|scope| {
            for buffer in &buffers {
                scope.spawn(|| {
                    let sum = buffer.chunks_exact(32).fold([0_u64; 32], |mut sums, chunk| {
                        for (sum, word) in sums.iter_mut().zip(chunk) {
                            *sum = sum.wrapping_add(*word);
                        }
                        sums
                    });
                    std::hint::black_box(sum);
                });
            }
        });
        (buffers.len() * WORDS * 8) as f64 / begun.elapsed().as_secs_f64()
    };
    (0..PASSES).map(|_| pass()).fold(0.0, f64::max)
}

/// The most memory this process held so far, in bytes, mapped files included; 0 where the system does not say.
pub fn peak_resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kilobytes = line.and_then(|line| line.split_whitespace().next()).and_then(|number| number.parse().ok());
    kilobytes.unwrap_or(0_u64) * 1024
}

/// The cores there are, as the system counts them for this process.
pub fn cores() -> u32 {
    std::thread::available_parallelism().map_or(1, |count| u32::try_from(count.get()).unwrap_or(1))
}

/// What the processor calls itself.
pub fn processor() -> String {
    let information = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let line = information.lines().find_map(|line| line.strip_prefix("model name"));
    line.map_or_else(|| "unknown".to_owned(), |line| line.trim_start_matches([' ', '\t', ':']).to_owned())
}
