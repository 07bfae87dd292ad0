//! How arguments come in and results go out: pointers with lengths, buffers with capacities, structs with sizes.
//!
//! Everything that a caller can get wrong without breaking the memory's rules is an error that names the argument.

use std::ffi::c_char;
use std::mem::{offset_of, MaybeUninit};
use std::slice;

use super::operation_types::{worker_bootstrap_t, worker_health_t, worker_overview_t};
use super::session_types::{
    worker_embed_options_t, worker_event_t, worker_score_options_t, worker_session_options_t, worker_usage_t,
};
use super::types::{
    worker_chat_options_t, worker_device_info_t, worker_memory_t, worker_model_options_t, worker_residency_t,
};
use crate::error::{Code, Error, Result};

/// Texts longer than this are taken for a mistake in their length.
const TEXT_MAXIMUM: usize = 1 << 30;
/// Arrays longer than this are taken for a mistake in their length.
const ARRAY_MAXIMUM: usize = 1 << 28;
/// Structs larger than this are taken for a mistake in their size.
pub(super) const STRUCT_MAXIMUM: u32 = 1 << 16;

/// A public struct that begins with its size.
///
/// # Safety
/// The type is `repr(C)`, begins with a `u32`, and all zeros are a value of it.
pub(super) unsafe trait Sized32: Copy {
    /// Its size in the first version of the ABI: smaller ones never existed.
    const FIRST_SIZE: u32;
}

macro_rules! sized_structs {
    ($($name:ident: $size:literal),* $(,)?) => {$(
        impl Clone for $name {
            fn clone(&self) -> Self {
                *self
            }
        }
        impl Copy for $name {}
        const _: () = assert!(offset_of!($name, struct_size) == 0 && size_of::<$name>() >= $size);
        // SAFETY: the struct is `repr(C)` of integers, floats, pointers and optional functions, which may all be zero.
        unsafe impl Sized32 for $name {
            const FIRST_SIZE: u32 = $size;
        }
    )*};
}
sized_structs! {
    worker_device_info_t: 200,
    worker_memory_t: 56,
    worker_residency_t: 248,
    worker_model_options_t: 72,
    worker_chat_options_t: 40,
    worker_session_options_t: 128,
    worker_event_t: 96,
    worker_usage_t: 48,
    worker_score_options_t: 24,
    worker_embed_options_t: 16,
    worker_bootstrap_t: 152,
    worker_overview_t: 712,
    worker_health_t: 544,
}

/// All zero, with its size.
pub(super) fn zeroed<T: Sized32>() -> T {
    // SAFETY: `Sized32` promises that zeros are a value.
    let mut value: T = unsafe { MaybeUninit::zeroed().assume_init() };
    // SAFETY: and that its first member is a `u32`.
    unsafe { (&raw mut value).cast::<u32>().write(size_of::<T>() as u32) };
    value
}

/// Sets a caller's struct to zero, with its size.
///
/// # Safety
/// `target` is NULL or valid for `size` bytes.
pub(super) unsafe fn options_init<T: Sized32>(target: *mut T, size: usize) -> Result<()> {
    required(target, "the struct")?;
    let size = u32::try_from(size).unwrap_or(u32::MAX);
    check_size::<T>(size, "size", "")?;
    // SAFETY: the caller's.
    unsafe {
        target.cast::<u8>().write_bytes(0, size as usize);
        target.cast::<u32>().write_unaligned(size);
    }
    Ok(())
}

/// Reads options; NULL gives the defaults. A struct that is larger than ours is welcome when what we do not know is zero.
///
/// # Safety
/// `source` is NULL or valid for the size that its first member tells.
pub(super) unsafe fn options<T: Sized32>(source: *const T) -> Result<T> {
    // SAFETY: as this function's.
    let (options, unknown) = unsafe { options_and_unknown(source) }?;
    unknown?;
    Ok(options)
}

/// Reads what we know of options, and says apart whether there is more: for structs with something to release.
///
/// # Safety
/// `source` is NULL or valid for the size that its first member tells.
pub(super) unsafe fn options_and_unknown<T: Sized32>(source: *const T) -> Result<(T, Result<()>)> {
    let mut options = zeroed::<T>();
    if source.is_null() {
        return Ok((options, Ok(())));
    }
    // SAFETY: the caller's; the first member is always there.
    let size = unsafe { source.cast::<u32>().read_unaligned() };
    check_size::<T>(size, "options", ": struct_size")?;
    let known = (size as usize).min(size_of::<T>());
    // SAFETY: both are valid for `known` bytes, and `options` is a local.
    unsafe {
        std::ptr::copy_nonoverlapping(source.cast::<u8>(), (&raw mut options).cast(), known);
    }
    // SAFETY: the caller's: valid for `size` bytes, of which `known` are the first.
    let tail = unsafe { slice::from_raw_parts(source.cast::<u8>().add(known), size as usize - known) };
    let unknown = match tail.iter().position(|byte| *byte != 0) {
        None => Ok(()),
        Some(offset) => Err(Error::new(
            Code::AbiMismatch,
            format!("options: byte {} is set, which this library does not know", known + offset),
        )),
    };
    Ok((options, unknown))
}

fn check_size<T: Sized32>(size: u32, name: &str, member: &str) -> Result<()> {
    if (T::FIRST_SIZE..=STRUCT_MAXIMUM).contains(&size) {
        return Ok(());
    }
    let ours = size_of::<T>();
    Err(Error::new(Code::AbiMismatch, format!("{name}{member} is {size}, expected {ours} as the _INIT macro sets")))
}

/// A caller's struct, cleared, that waits for a result.
pub(super) struct OutputStruct<T> {
    target: *mut T,
    size: u32,
}

/// Clears a caller's struct.
///
/// # Safety
/// `target` is NULL or valid, while the result lives, for the size that its first member tells.
pub(super) unsafe fn output_struct<T: Sized32>(target: *mut T, name: &str) -> Result<OutputStruct<T>> {
    required(target, name)?;
    // SAFETY: the caller's; the first member is always there.
    let size = unsafe { target.cast::<u32>().read_unaligned() };
    check_size::<T>(size, name, ": struct_size")?;
    // SAFETY: the caller's. The usual size apart, for the compiler makes few stores of what it knows the size of.
    unsafe {
        if size as usize == size_of::<T>() {
            target.write_unaligned(zeroed());
        } else {
            target.cast::<u8>().add(size_of::<u32>()).write_bytes(0, size as usize - size_of::<u32>());
        }
    }
    Ok(OutputStruct { target, size })
}

impl<T: Sized32> OutputStruct<T> {
    /// Writes what `make` gives, as far as the caller's struct goes.
    pub(super) fn write_with(self, make: impl FnOnce() -> Result<T>) -> Result<()> {
        self.write(make()?);
        Ok(())
    }

    /// Has `fill` write into the cleared struct, as far as the caller's goes.
    #[inline]
    pub(super) fn fill(&self, fill: impl FnOnce(&mut T)) {
        if self.size as usize == size_of::<T>() && self.target.is_aligned() {
            // SAFETY: the target was valid for `self.size` bytes when this was made, which are a `T`'s, and cleared; zeros
            // are a value, as `Sized32` promises.
            fill(unsafe { &mut *self.target });
        } else {
            let mut value = zeroed();
            fill(&mut value);
            self.write(value);
        }
    }

    /// Writes a value, as far as the caller's struct goes.
    pub(super) fn write(&self, mut value: T) {
        let size = (self.size as usize).min(size_of::<T>());
        // SAFETY: `Sized32` promises the first member; the target was valid for `self.size` bytes when this was made. The
        // usual size apart, as above.
        unsafe {
            (&raw mut value).cast::<u32>().write(self.size);
            if size == size_of::<T>() {
                self.target.write_unaligned(value);
            } else {
                std::ptr::copy_nonoverlapping((&raw const value).cast::<u8>(), self.target.cast(), size);
            }
        }
    }
}

/// A caller's variable, cleared, that waits for a result.
pub(super) struct Output<T>(*mut T);

/// Clears a caller's variable.
///
/// # Safety
/// `target` is NULL or valid while the result lives.
pub(super) unsafe fn output<T: Default>(target: *mut T, name: &str) -> Result<Output<T>> {
    required(target, name)?;
    // SAFETY: the caller's.
    unsafe { target.write_unaligned(T::default()) };
    Ok(Output(target))
}

impl<T> Output<T> {
    /// Writes what `make` gives.
    pub(super) fn write_with(self, make: impl FnOnce() -> Result<T>) -> Result<()> {
        let value = make()?;
        // SAFETY: it was valid when this was made.
        unsafe { self.0.write_unaligned(value) };
        Ok(())
    }
}

/// A caller's array, and where to tell how much it must hold.
pub(super) struct ArrayOutput<T> {
    target: *mut T,
    capacity: usize,
    needed: *mut usize,
    name: &'static str,
}

/// Takes a caller's array for output.
///
/// # Safety
/// While the result lives, `target` is valid for `capacity` items, and `needed` is NULL or valid.
pub(super) unsafe fn array_output<T: Copy>(
    target: *mut T,
    capacity: usize,
    needed: *mut usize,
    name: &'static str,
) -> Result<ArrayOutput<T>> {
    if !needed.is_null() {
        // SAFETY: the caller's.
        unsafe { needed.write_unaligned(0) };
    }
    if target.is_null() && capacity != 0 {
        return Err(invalid(format!("{name} is NULL, but its capacity is {capacity}")));
    }
    if capacity > isize::MAX as usize / size_of::<T>() {
        return Err(invalid(format!("{name}: a capacity of {capacity} is more than memory has")));
    }
    Ok(ArrayOutput { target, capacity, needed, name })
}

impl<T: Copy> ArrayOutput<T> {
    /// Tells how many items there are, and fails when they do not fit.
    pub(super) fn check(&self, count: usize) -> Result<()> {
        if !self.needed.is_null() {
            // SAFETY: it was valid when this was made.
            unsafe { self.needed.write_unaligned(count) };
        }
        if count <= self.capacity {
            return Ok(());
        }
        let detail = format!("{}: {count} are needed, {} fit", self.name, self.capacity);
        Err(Error::new(Code::BufferTooSmall, detail))
    }

    /// Writes what `make` gives, all or nothing.
    pub(super) fn write_with(self, make: impl FnOnce() -> Result<Vec<T>>) -> Result<()> {
        let items = make()?;
        self.check(items.len())?;
        if !items.is_empty() {
            // SAFETY: the target has room for them, and is no memory of ours. Bytes, since it may not be aligned.
            unsafe {
                let bytes = size_of_val(items.as_slice());
                std::ptr::copy_nonoverlapping(items.as_ptr().cast::<u8>(), self.target.cast(), bytes);
            }
        }
        Ok(())
    }
}

/// A caller's buffer for text.
pub(super) struct TextOutput(ArrayOutput<u8>);

/// Takes a caller's buffer for text, and makes it empty.
///
/// # Safety
/// While the result lives, `buffer` is valid for `capacity` bytes, and `needed` is NULL or valid.
pub(super) unsafe fn text_output(buffer: *mut c_char, capacity: usize, needed: *mut usize) -> Result<TextOutput> {
    // SAFETY: as this function's.
    let output = unsafe { array_output(buffer.cast::<u8>(), capacity, needed, "buffer") }?;
    if capacity > 0 {
        // SAFETY: the caller's.
        unsafe { output.target.write(0) };
    }
    Ok(TextOutput(output))
}

impl TextOutput {
    /// Writes the text that `make` gives, with a NUL at its end.
    pub(super) fn write_with(self, make: impl FnOnce() -> Result<Vec<u8>>) -> Result<()> {
        self.0.write_with(|| {
            let mut bytes = make()?;
            bytes.push(0);
            Ok(bytes)
        })
    }
}

/// A caller's UTF-8 text.
///
/// # Safety
/// `pointer` is valid for `length` bytes, for as long as the result is used.
pub(super) unsafe fn text<'a>(pointer: *const c_char, length: usize, name: &str) -> Result<&'a str> {
    // SAFETY: as this function's.
    let bytes = unsafe { bytes(pointer, length, name) }?;
    utf8(bytes, name)
}

/// Text, if it is UTF-8.
pub(super) fn utf8<'a>(bytes: &'a [u8], name: &str) -> Result<&'a str> {
    std::str::from_utf8(bytes)
        .map_err(|error| invalid(format!("{name} is not UTF-8: byte {} is wrong", error.valid_up_to())))
}

/// A caller's bytes.
///
/// # Safety
/// `pointer` is valid for `length` bytes, for as long as the result is used.
pub(super) unsafe fn bytes<'a>(pointer: *const c_char, length: usize, name: &str) -> Result<&'a [u8]> {
    // SAFETY: as this function's.
    unsafe { items(pointer.cast::<u8>(), length, TEXT_MAXIMUM, name) }
}

/// A caller's array.
///
/// # Safety
/// `pointer` is valid for `count` items, for as long as the result is used, and aligned.
pub(super) unsafe fn array<'a, T>(pointer: *const T, count: usize, name: &str) -> Result<&'a [T]> {
    // SAFETY: as this function's.
    unsafe { items(pointer, count, ARRAY_MAXIMUM, name) }
}

unsafe fn items<'a, T>(pointer: *const T, count: usize, maximum: usize, name: &str) -> Result<&'a [T]> {
    if count == 0 {
        return Ok(&[]);
    }
    required(pointer, name)?;
    if count > maximum {
        return Err(invalid(format!("{name}: a length of {count} is more than the {maximum} that are allowed")));
    }
    if !pointer.is_aligned() {
        return Err(invalid(format!("{name} is not aligned to {} bytes", align_of::<T>())));
    }
    // SAFETY: the caller's; it is not NULL, aligned, and not longer than memory.
    Ok(unsafe { slice::from_raw_parts(pointer, count) })
}

/// A length from a struct.
pub(super) fn length(value: u64, name: &str) -> Result<usize> {
    usize::try_from(value).map_err(|_| invalid(format!("{name}: a length of {value} is more than memory has")))
}

/// Refuses NULL.
pub(super) fn required<T>(pointer: *const T, name: &str) -> Result<()> {
    if pointer.is_null() {
        return Err(invalid(format!("{name} is NULL")));
    }
    Ok(())
}

/// A flag of 0 or 1.
pub(super) fn switch(value: u32, name: &str) -> Result<bool> {
    match value {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(invalid(format!("{name}: {value} is neither 0 nor 1"))),
    }
}

/// Refuses what must be zero.
pub(super) fn reserved(value: u32, name: &str) -> Result<()> {
    if value == 0 {
        return Ok(());
    }
    Err(Error::new(Code::AbiMismatch, format!("{name}: {value} is set, which this library does not know")))
}

/// A caller's argument is wrong.
#[cold]
pub(super) fn invalid(detail: String) -> Error {
    Error::new(Code::InvalidParameter, detail)
}
