//! The Jobicolet ABI in Rust, without other crates: `mod jobicolet;` and `jobicolet!(handle);`.
//!
//! `handle` is `fn(&[u8]) -> Result<Vec<u8>, Failure>`.

use std::alloc::{alloc, dealloc, Layout};

/// Why an event could not be handled: a code that is not 0, and a text for people.
pub struct Failure {
    pub code: u64,
    pub message: String,
}

#[allow(dead_code)]
pub enum Level {
    Debug,
    Info,
    Warning,
    Error,
    Fatal,
    Panic,
    None,
}

#[link(wasm_import_module = "env")]
extern "C" {
    #[link_name = "log"]
    fn host_log(level: u32, text: *const u8, size: usize);
}

pub fn log(level: Level, text: &str) {
    unsafe { host_log(level as u32, text.as_ptr(), text.len()) }
}

/// Says that `free` takes the size too.
#[no_mangle]
pub extern "C" fn ver() -> u32 {
    1
}

#[no_mangle]
pub extern "C" fn init() {
    std::panic::set_hook(Box::new(|panic| log(Level::Panic, &panic.to_string())));
}

#[no_mangle]
pub extern "C" fn malloc(size: usize) -> *mut u8 {
    match Layout::from_size_align(size.max(1), 8) {
        Ok(layout) => unsafe { alloc(layout) },
        Err(_) => std::ptr::null_mut(),
    }
}

#[no_mangle]
pub unsafe extern "C" fn free(block: *mut u8, size: usize) {
    if let Ok(layout) = Layout::from_size_align(size.max(1), 8) {
        dealloc(block, layout)
    }
}

pub unsafe fn answer(
    result: *mut u64,
    data: *const u8,
    size: usize,
    handle: fn(&[u8]) -> Result<Vec<u8>, Failure>,
) {
    let (code, text) = match handle(std::slice::from_raw_parts(data, size)) {
        Ok(text) => (0, text),
        Err(failure) => (failure.code, failure.message.into_bytes()),
    };
    let text = text.into_boxed_slice();
    *result = code;
    *result.add(1) = (text.as_ptr() as u64) << 32 | text.len() as u64;
    std::mem::forget(text); // the host frees it
}

#[macro_export]
macro_rules! jobicolet {
    ($handle:path) => {
        /// # Safety
        /// Called by the host with blocks that it took from `malloc`.
        #[no_mangle]
        pub unsafe extern "C" fn event(result: *mut u64, data: *const u8, size: usize) {
            crate::jobicolet::answer(result, data, size, $handle)
        }
    };
}
