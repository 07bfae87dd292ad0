//! The errors of this door: the locked codes, with what happened in particular.

use thiserror::Error;

use crate::error::{Code, Error as InnerError};

/// Why a call failed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum CudaError {
    /// Code 1: the device does not exist here, or cannot be used.
    #[error("Invalid device: {0}")]
    InvalidDevice(String),
    /// Code 2: an allocation failed, or there is no place left; a retry may help.
    #[error("Out of memory: {0}")]
    OutOfMemory(String),
    /// Code 3: the model file cannot be read, is damaged, or contradicts itself.
    #[error("Model load failed: {0}")]
    ModelLoadFailed(String),
    /// Code 4: the file is sound, but its architecture, tensor type or tokenizer is not known.
    #[error("Model not supported: {0}")]
    ModelUnsupported(String),
    /// Code 5: running the model failed.
    #[error("Inference failed: {0}")]
    InferenceFailed(String),
    /// Code 6: an argument is out of range or malformed, or names what does not exist any more.
    #[error("Invalid parameter: {0}")]
    InvalidParameter(String),
    /// Code 7: a GPU kernel could not be started or ended with an error.
    #[error("Kernel launch failed: {0}")]
    KernelLaunchFailed(String),
    /// Code 8: weights are not where they were put.
    #[error("VRAM residency failed: {0}")]
    VramResidencyFailed(String),
    /// Code 99, and every number that is no code.
    #[error("Unknown error: {0}")]
    Unknown(String),
}

impl CudaError {
    /// The error of a code that a locked C function gave, with the code's own message for a detail.
    #[must_use]
    pub fn from_code(code: i32) -> Self {
        match Code::from_number(code) {
            Some(code) => Self::from(InnerError::new(code, code.message())),
            None => Self::Unknown(format!("Unrecognized error code {code}")),
        }
    }

    /// The number that the locked C functions give for it.
    #[must_use]
    pub fn code(&self) -> i32 {
        self.kind().number()
    }

    /// What was expected, what was found, and where.
    #[must_use]
    pub fn detail(&self) -> &str {
        match self {
            Self::InvalidDevice(detail)
            | Self::OutOfMemory(detail)
            | Self::ModelLoadFailed(detail)
            | Self::ModelUnsupported(detail)
            | Self::InferenceFailed(detail)
            | Self::InvalidParameter(detail)
            | Self::KernelLaunchFailed(detail)
            | Self::VramResidencyFailed(detail)
            | Self::Unknown(detail) => detail,
        }
    }

    /// The HTTP status that a server would answer with: 400, 500 or 503.
    #[must_use]
    pub fn http_status(&self) -> u16 {
        self.kind().http_status()
    }

    /// Whether the same call may succeed when it is made again.
    #[must_use]
    pub fn is_retriable(&self) -> bool {
        self.kind().retry_helps()
    }

    fn kind(&self) -> Code {
        match self {
            Self::InvalidDevice(_) => Code::InvalidDevice,
            Self::OutOfMemory(_) => Code::OutOfMemory,
            Self::ModelLoadFailed(_) => Code::ModelLoadFailed,
            Self::ModelUnsupported(_) => Code::ModelUnsupported,
            Self::InferenceFailed(_) => Code::InferenceFailed,
            Self::InvalidParameter(_) => Code::InvalidParameter,
            Self::KernelLaunchFailed(_) => Code::KernelLaunchFailed,
            Self::VramResidencyFailed(_) => Code::ResidencyFailed,
            Self::Unknown(_) => Code::Unknown,
        }
    }
}

impl From<InnerError> for CudaError {
    /// The finer codes become the locked one that a caller would act on in the same way.
    fn from(error: InnerError) -> Self {
        let InnerError { code, detail } = error;
        match code {
            Code::InvalidDevice => Self::InvalidDevice(detail),
            // Those that a retry helps: the locked codes have but one such.
            Code::OutOfMemory | Code::HandlesExhausted | Code::Busy | Code::ShuttingDown | Code::Unhealthy => {
                Self::OutOfMemory(detail)
            }
            Code::ModelLoadFailed | Code::InputOutput => Self::ModelLoadFailed(detail),
            Code::ModelUnsupported => Self::ModelUnsupported(detail),
            Code::InferenceFailed | Code::Cancelled | Code::TimedOut => Self::InferenceFailed(detail),
            Code::InvalidParameter
            | Code::InvalidHandle
            | Code::StaleHandle
            | Code::WrongKind
            | Code::BufferTooSmall
            | Code::Forked
            | Code::AbiMismatch => Self::InvalidParameter(detail),
            Code::KernelLaunchFailed => Self::KernelLaunchFailed(detail),
            Code::ResidencyFailed => Self::VramResidencyFailed(detail),
            Code::Unknown | Code::Panic | Code::NotInitialized | Code::AlreadyInitialized => Self::Unknown(detail),
        }
    }
}

impl From<CudaError> for InnerError {
    fn from(error: CudaError) -> Self {
        Self::new(error.kind(), error.detail())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_becomes_its_variant_and_the_number_comes_back() {
        for number in [1, 2, 3, 4, 5, 6, 7, 8, 99] {
            let error = CudaError::from_code(number);
            assert_eq!(error.code(), number, "{error}");
            assert!(!error.detail().is_empty());
        }
        assert!(matches!(CudaError::from_code(1), CudaError::InvalidDevice(_)));
        assert!(matches!(CudaError::from_code(8), CudaError::VramResidencyFailed(_)));
    }

    #[test]
    fn finer_codes_become_locked_ones() {
        for code in Code::ALL {
            let number = CudaError::from_code(code.number()).code();
            assert!((1..=8).contains(&number) || number == 99, "{code:?} became {number}");
        }
        assert_eq!(CudaError::from_code(111).code(), 6);
    }

    #[test]
    fn unknown_numbers_name_themselves() {
        for number in [0, -1, 9, 98, 9_999, i32::MAX] {
            let error = CudaError::from_code(number);
            assert_eq!(error.code(), 99);
            assert!(error.to_string().contains(&number.to_string()));
        }
    }

    #[test]
    fn statuses_and_retries_are_those_of_the_seeds() {
        let status = |code| CudaError::from_code(code).http_status();
        assert_eq!((status(6), status(2), status(1), status(99)), (400, 503, 500, 500));
        assert!(CudaError::from_code(2).is_retriable());
        assert!(!CudaError::from_code(6).is_retriable());
    }

    #[test]
    fn it_is_an_error_that_threads_may_share() {
        fn check<T: std::error::Error + Send + Sync + 'static>() {}
        check::<CudaError>();
    }
}
