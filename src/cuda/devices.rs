//! Open devices, shared by everyone who asks for the same: two thread pools would only fight for the same cores.

use std::sync::{Arc, Weak};

use parking_lot::Mutex;

use crate::engine::Device;
use crate::error::{Code, Error, Result};
use crate::registry::PerProcess;

/// The CPU's ordinal.
pub const CPU: i32 = -1;
/// More threads than this are taken for a mistake.
pub const MAXIMUM_THREADS: u32 = 1024;

struct Opened {
    ordinal: i32,
    threads: u32,
    device: Weak<Device>,
}

/// The device of this ordinal, with so many threads (0: as many as there are cores for this process).
pub fn open(ordinal: i32, threads: u32) -> Result<Arc<Device>> {
    static OPENED: PerProcess<Mutex<Vec<Opened>>> = PerProcess::new();
    if ordinal < CPU {
        let detail = format!("device {ordinal} does not exist; -1 is the CPU, and GPUs count from 0");
        return Err(Error::new(Code::InvalidDevice, detail));
    }
    let gpus = Device::gpu_count();
    if ordinal != CPU && ordinal as u32 >= gpus {
        let found = if gpus == 0 { "no GPU can be used here".to_owned() } else { format!("there are {gpus} GPUs") };
        let detail = format!("GPU {ordinal} does not exist: {found}; -1 is the CPU");
        return Err(Error::new(Code::InvalidDevice, detail));
    }
    if threads > MAXIMUM_THREADS {
        let detail = format!("threads: {threads} is more than {MAXIMUM_THREADS}");
        return Err(Error::new(Code::InvalidParameter, detail));
    }
    // A GPU's work is done by its own: one device serves every request for it.
    let threads = if ordinal == CPU { threads } else { 0 };
    let mut opened = OPENED.get_or_init(Mutex::default).lock();
    opened.retain(|entry| entry.device.strong_count() > 0);
    let known = opened.iter().find(|entry| entry.ordinal == ordinal && entry.threads == threads);
    if let Some(device) = known.and_then(|entry| entry.device.upgrade()) {
        return Ok(device);
    }
    let device = Device::open(ordinal, threads)?;
    opened.push(Opened { ordinal, threads, device: Arc::downgrade(&device) });
    Ok(device)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_device_is_opened_once_while_it_is_in_use() {
        let first = open(CPU, 2).unwrap();
        assert!(Arc::ptr_eq(&first, &open(CPU, 2).unwrap()));
        assert!(!Arc::ptr_eq(&first, &open(CPU, 1).unwrap()));
    }

    #[test]
    fn devices_that_do_not_exist_are_named() {
        for ordinal in [i32::MIN, -2, i32::MAX] {
            let error = open(ordinal, 0).unwrap_err();
            assert_eq!(error.code, Code::InvalidDevice);
            assert!(error.detail.contains(&ordinal.to_string()), "{}", error.detail);
            assert!(error.detail.contains("-1 is the CPU"), "{}", error.detail);
        }
        assert_eq!(open(CPU, MAXIMUM_THREADS + 1).unwrap_err().code, Code::InvalidParameter);
    }
}
