//! The tensor types a GGUF file may name: number, name, and how many bytes a block of values takes.

/// A tensor type of the format, known by its size; whether the engine computes with it is the engine's to say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlockFormat {
    /// The format's number.
    pub number: u32,
    /// The name used everywhere, such as "Q4_K".
    pub name: &'static str,
    /// Values of one block; a row is a whole number of blocks.
    pub block_values: u64,
    /// Bytes of one block.
    pub block_bytes: u64,
}

impl BlockFormat {
    /// The type with this number, if the format defines one.
    #[must_use]
    pub fn from_number(number: u32) -> Option<&'static Self> {
        ALL.iter().find(|format| format.number == number)
    }

    /// Every type, in rising order of numbers.
    #[must_use]
    pub fn all() -> &'static [Self] {
        ALL
    }
}

const fn format(number: u32, name: &'static str, block_values: u64, block_bytes: u64) -> BlockFormat {
    BlockFormat { number, name, block_values, block_bytes }
}

// The numbers that are missing were types of older files and are not to be given again.
const ALL: &[BlockFormat] = &[
    format(0, "F32", 1, 4),
    format(1, "F16", 1, 2),
    format(2, "Q4_0", 32, 18),
    format(3, "Q4_1", 32, 20),
    format(6, "Q5_0", 32, 22),
    format(7, "Q5_1", 32, 24),
    format(8, "Q8_0", 32, 34),
    format(9, "Q8_1", 32, 36),
    format(10, "Q2_K", 256, 84),
    format(11, "Q3_K", 256, 110),
    format(12, "Q4_K", 256, 144),
    format(13, "Q5_K", 256, 176),
    format(14, "Q6_K", 256, 210),
    format(15, "Q8_K", 256, 292),
    format(16, "IQ2_XXS", 256, 66),
    format(17, "IQ2_XS", 256, 74),
    format(18, "IQ3_XXS", 256, 98),
    format(19, "IQ1_S", 256, 50),
    format(20, "IQ4_NL", 32, 18),
    format(21, "IQ3_S", 256, 110),
    format(22, "IQ2_S", 256, 82),
    format(23, "IQ4_XS", 256, 136),
    format(24, "I8", 1, 1),
    format(25, "I16", 1, 2),
    format(26, "I32", 1, 4),
    format(27, "I64", 1, 8),
    format(28, "F64", 1, 8),
    format(29, "IQ1_M", 256, 56),
    format(30, "BF16", 1, 2),
    format(34, "TQ1_0", 256, 54),
    format(35, "TQ2_0", 256, 66),
    format(39, "MXFP4", 32, 17),
    format(40, "NVFP4", 64, 36),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_rise_and_names_are_found() {
        assert!(ALL.windows(2).all(|pair| pair[0].number < pair[1].number));
        assert_eq!(BlockFormat::from_number(12).map(|format| format.name), Some("Q4_K"));
        assert_eq!(BlockFormat::from_number(4), None);
    }
}
