//! What went wrong: a code from the one error table, and a detail that says what was expected, found, and where.

use thiserror::Error;

include!("error_table.rs");

/// Result of everything below the doors.
pub type Result<T> = std::result::Result<T, Error>;

/// A failure: its code, and the sentence that lets the reader act.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{}: {detail}", code.message())]
pub struct Error {
    /// The published code.
    pub code: Code,
    /// What was expected, what was found, and where.
    pub detail: String,
}

impl Error {
    /// An error of `code`, explained by `detail`.
    pub fn new(code: Code, detail: impl Into<String>) -> Self {
        Self { code, detail: detail.into() }
    }
}

macro_rules! define_codes {
    ($(($number:literal, $name:ident, $c_name:literal, $message:literal, $status:literal, $retry:literal, $text:literal);)*) => {
        /// A published error code; see each one's text for when it occurs.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[repr(i32)]
        pub enum Code {
            $(#[doc = $text] $name = $number,)*
        }

        impl Code {
            /// Every code, in rising order.
            pub const ALL: &'static [Code] = &[$(Code::$name),*];

            /// The code with this number, if there is one.
            #[must_use]
            pub const fn from_number(number: i32) -> Option<Self> {
                match number {
                    $($number => Some(Self::$name),)*
                    _ => None,
                }
            }

            /// The constant's name in C.
            #[must_use]
            pub const fn c_name(self) -> &'static str {
                match self { $(Self::$name => $c_name,)* }
            }

            /// A short sentence for people.
            #[must_use]
            pub const fn message(self) -> &'static str {
                match self { $(Self::$name => $message,)* }
            }

            /// The HTTP status a server would answer with.
            #[must_use]
            pub const fn http_status(self) -> u16 {
                match self { $(Self::$name => $status,)* }
            }

            /// Whether the same call may succeed later.
            #[must_use]
            pub const fn retry_helps(self) -> bool {
                match self { $(Self::$name => $retry,)* }
            }
        }
    };
}
error_table!(define_codes);

impl Code {
    /// The published number.
    #[must_use]
    pub const fn number(self) -> i32 {
        self as i32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_names_and_messages_are_unique_and_round_trip() {
        let mut names = std::collections::HashSet::new();
        for code in Code::ALL {
            assert_eq!(Code::from_number(code.number()), Some(*code));
            assert!(names.insert(code.c_name()), "{} twice", code.c_name());
            assert!(code.c_name().starts_with("WORKER_ERROR_"));
        }
        assert!(Code::ALL.windows(2).all(|pair| pair[0].number() < pair[1].number()));
        assert_eq!(Code::from_number(0), None);
    }

    #[test]
    fn the_locked_codes_have_the_published_numbers() {
        let numbers: Vec<i32> = Code::ALL.iter().map(|code| code.number()).take_while(|n| *n < 100).collect();
        assert_eq!(numbers, [1, 2, 3, 4, 5, 6, 7, 8, 99]);
    }
}
