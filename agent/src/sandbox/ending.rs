//! How an attempt ended, told as an `Outcome` with its numbers.
//!
//! Everything Wasmtime can report is mapped here, in one order: what the sandbox itself ended comes
//! before what the guest did. The next stop is the executor, which makes a result of it.

use std::io;

use wasmtime::{GcHeapOutOfMemory, PoolConcurrencyLimitError, ThrownException, WasmBacktrace};
use wasmtime_wasi::I32Exit;
use weir_proto::{
    job::StageSpec,
    outcome::{Exceeded, Outcome, Trap},
};

use super::{SandboxError, stdio::OverLimit};
use crate::filesystem::{Area, FsError};

/// Most bytes of a trap's message and of each frame: they go into pages, and a guest chooses its
/// functions' names.
const MAX_TEXT_BYTES: usize = 128;

/// How far the guest came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// Memories, tables, data segments and the start function.
    Instantiating,
    /// `_start`.
    Running,
}

/// What a guest's end is judged by.
pub(super) struct Ending<'a> {
    pub(super) stage: &'a StageSpec,
    pub(super) result: Result<(), (Phase, wasmtime::Error)>,
    /// The last memory that the guest did not get.
    pub(super) denied: Option<Exceeded>,
    pub(super) fuel_used: u64,
}

impl Ending<'_> {
    /// # Errors
    /// `Busy` when the pool or the kernel had no room, `Input` and `Disk`: those are our failures, not the
    /// guest's.
    pub(super) fn outcome(self) -> Result<Outcome, SandboxError> {
        let (phase, error) = match self.result {
            Ok(()) => return Ok(Outcome::Succeeded { exit_code: 0 }),
            Err(failure) => failure,
        };
        if let Some(I32Exit(exit_code)) = error.downcast_ref() {
            return Ok(exited(*exit_code, self.stage));
        }
        if let Some(OverLimit(exceeded)) = error.downcast_ref() {
            return Ok(Outcome::OutputTooLarge(*exceeded));
        }
        if error.is::<PoolConcurrencyLimitError>() {
            return Err(SandboxError::Busy { reason: error.to_string() });
        }
        // The kernel had no mapping or page left for a new instance: that is not the module's fault.
        if let (Phase::Instantiating, Some(error)) = (phase, error.downcast_ref::<io::Error>()) {
            return Err(SandboxError::Busy { reason: error.to_string() });
        }
        let error = match error.downcast::<FsError>() {
            Ok(ended) => return by_file_system(ended),
            Err(error) => error,
        };
        let trap = error.downcast_ref::<wasmtime::Trap>().copied();
        match (trap, self.denied) {
            (Some(wasmtime::Trap::OutOfFuel), _) => {
                let limit = self.stage.limits.fuel;
                Ok(Outcome::OutOfFuel(Exceeded { used: self.fuel_used, limit }))
            }
            // Its own doing, whatever memory it asked for before.
            (Some(wasmtime::Trap::StackOverflow), _) => Ok(trapped(trap, &error)),
            (_, Some(denied)) => Ok(Outcome::OutOfMemory(denied)),
            (None, None) if phase == Phase::Instantiating && !error.is::<WasmBacktrace>() => {
                Ok(Outcome::InvalidModule { reason: format!("{error:#}") })
            }
            (_, None) => Ok(trapped(trap, &error)),
        }
    }
}

/// The end of an attempt by its file system.
fn by_file_system(error: FsError) -> Result<Outcome, SandboxError> {
    match error {
        FsError::OverLimit { area: Area::Scratch, exceeded } => Ok(Outcome::ScratchFull(exceeded)),
        FsError::OverLimit { area: Area::Out | Area::Fixed, exceeded } => {
            Ok(Outcome::OutputTooLarge(exceeded))
        }
        FsError::Input(error) => Err(SandboxError::Input(*error)),
        FsError::Disk(error) => Err(SandboxError::Disk(error)),
        FsError::Refused(refusal) => unreachable!("the guest was told of {refusal:?}"),
    }
}

fn exited(exit_code: i32, stage: &StageSpec) -> Outcome {
    if exit_code == 0 || stage.success_codes.contains(&exit_code) {
        Outcome::Succeeded { exit_code }
    } else {
        Outcome::Failed { exit_code }
    }
}

fn trapped(trap: Option<wasmtime::Trap>, error: &wasmtime::Error) -> Outcome {
    let (kind, message) = match trap {
        Some(trap) => {
            let message = trap.to_string();
            (kind(trap), message.strip_prefix("wasm trap: ").unwrap_or(&message).to_owned())
        }
        None if error.is::<ThrownException>() => {
            ("uncaught_exception", "an exception was thrown and not caught".to_owned())
        }
        None if error.is::<GcHeapOutOfMemory<()>>() => {
            ("gc_heap_out_of_memory", "the garbage-collected heap is full".to_owned())
        }
        // A host call refused: the root says why, what is around it only says where.
        None => ("host_call", error.root_cause().to_string()),
    };
    let frames = error.downcast_ref().map(frames).unwrap_or_default();
    Outcome::Trapped(Trap { kind: kind.to_owned(), message: bounded(&message), frames })
}

/// The stable word for a trap.
fn kind(trap: wasmtime::Trap) -> &'static str {
    use wasmtime::Trap;
    match trap {
        Trap::StackOverflow => "stack_overflow",
        Trap::MemoryOutOfBounds => "memory_out_of_bounds",
        Trap::HeapMisaligned => "heap_misaligned",
        Trap::TableOutOfBounds => "table_out_of_bounds",
        Trap::IndirectCallToNull => "indirect_call_to_null",
        Trap::BadSignature => "bad_signature",
        Trap::IntegerOverflow => "integer_overflow",
        Trap::IntegerDivisionByZero => "integer_divide_by_zero",
        Trap::BadConversionToInteger => "bad_conversion_to_integer",
        Trap::UnreachableCodeReached => "unreachable",
        Trap::NullReference => "null_reference",
        Trap::ArrayOutOfBounds => "array_out_of_bounds",
        Trap::AllocationTooLarge => "allocation_too_large",
        Trap::CastFailure => "cast_failure",
        Trap::UncaughtException => "uncaught_exception",
        Trap::CannotEnterComponent => "cannot_enter_component",
        Trap::CannotLeaveComponent => "cannot_leave_component",
        Trap::CannotBlockSyncTask => "cannot_block_sync_task",
        Trap::InvalidChar => "invalid_char",
        Trap::StringOutOfBounds => "string_out_of_bounds",
        Trap::ListOutOfBounds => "list_out_of_bounds",
        Trap::InvalidDiscriminant => "invalid_discriminant",
        Trap::UnalignedPointer => "unaligned_pointer",
        Trap::ReferenceCountOverflow => "reference_count_overflow",
        // The rest belongs to threads, asynchronous components, stack switching and other ways to
        // run, which this profile has not, and to checks of Wasmtime's own code.
        _ => "other",
    }
}

/// The guest's functions, innermost first; `wasmtime` already bounds how many.
fn frames(trace: &WasmBacktrace) -> Vec<String> {
    // Only the printed form has names demangled. After a headline, one line a frame:
    // `  0: 0x2a - module!function`, or without the address where that is not known.
    let printed = trace.to_string();
    let names = printed.lines().skip(1).zip(trace.frames()).map(|(line, frame)| {
        // A mangled name begins with `_`. Others are as they are: a function `f` would be demangled
        // to the C++ type `float`.
        if let Some(name) = frame.func_name().filter(|name| !name.starts_with('_')) {
            return bounded(name);
        }
        let place = line.split_once(": ").map_or(line, |(_, place)| place).trim_start();
        let place = match place.split_once(" - ") {
            Some((address, place)) if address.starts_with("0x") => place,
            _ => place,
        };
        let module = frame.module().name().unwrap_or("<unknown>");
        let name = place.strip_prefix(module).and_then(|rest| rest.strip_prefix('!'));
        bounded(name.unwrap_or(place))
    });
    names.collect()
}

/// Where in the module the frames of a trap are, innermost first.
pub(super) fn offsets(error: &wasmtime::Error) -> Vec<Option<usize>> {
    let trace = error.downcast_ref::<WasmBacktrace>();
    let frames = trace.into_iter().flat_map(WasmBacktrace::frames);
    frames.map(|frame| frame.module_offset()).collect()
}

pub(crate) fn bounded(text: &str) -> String {
    if text.len() <= MAX_TEXT_BYTES {
        return text.to_owned();
    }
    let end = text.floor_char_boundary(MAX_TEXT_BYTES - 3);
    format!("{}...", &text[..end])
}

#[cfg(test)]
mod tests {
    use weir_proto::digest::Digest;

    use super::*;

    #[test]
    fn a_machine_without_room_for_an_instance_is_busy_and_the_module_not_invalid() {
        let stage = StageSpec::new("main", Digest::of(b"module"));
        let failed = wasmtime::Error::from(io::Error::from(io::ErrorKind::OutOfMemory));
        let failed = failed.context("cannot map an image");
        let ending = Ending {
            stage: &stage,
            result: Err((Phase::Instantiating, failed)),
            denied: None,
            fuel_used: 0,
        };
        let outcome = ending.outcome();
        assert!(matches!(outcome, Err(SandboxError::Busy { .. })), "{outcome:?}");
    }

    #[test]
    fn long_names_are_cut_between_characters() {
        let text = "ä".repeat(400);
        let cut = bounded(&text);
        assert!(cut.len() <= MAX_TEXT_BYTES && cut.ends_with("..."), "{cut}");
    }
}
