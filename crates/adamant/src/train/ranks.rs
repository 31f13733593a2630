//! What rank 0 has the other ranks do. Rank 0 decides everything: batches, validations, going back, the end.

use super::error::TrainError;
use super::store::Files;
use collective::{Collective, CollectiveError};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

/// What all ranks do next.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(super) enum Command {
    /// Go on from the checkpoint that is broadcast next.
    Load,
    /// The step after so many.
    Step { step: u64 },
    /// Judge the model on held-out images, after so many steps.
    Judge { step: u64 },
    /// Nothing is left to do.
    End(Ended),
}

/// How a run ended.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(super) enum Ended {
    Finished,
    Interrupted { step: u64, checkpoint: PathBuf },
    Failed(String),
}

/// Has the others do something; an end that was asked for on any rank is taken over. Called by rank 0.
///
/// Errors: the collective's.
pub(super) fn tell(
    ranks: &dyn Collective,
    command: &Command,
    interrupt: &AtomicBool,
) -> Result<(), CollectiveError> {
    if ranks.world_size() == 1 {
        return Ok(());
    }
    let bytes = serde_json::to_vec(command).expect("a command holds only numbers and text");
    let heard = ranks.gather("command", &bytes)?;
    if heard.iter().skip(1).any(|wish| wish == ASKS_FOR_END) {
        interrupt.store(true, Ordering::SeqCst);
    }
    Ok(())
}

/// What rank 0 wants done; it is told whether an end was asked for here.
///
/// Errors: the collective's.
pub(super) fn hear(ranks: &dyn Collective, interrupt: &AtomicBool) -> Result<Command, TrainError> {
    let wish = match interrupt.load(Ordering::SeqCst) {
        true => ASKS_FOR_END,
        false => b"",
    };
    let heard = ranks.gather("command", wish)?;
    serde_json::from_slice(&heard[0])
        .map_err(|error| TrainError::OtherRank { rank: 0, message: error.to_string() })
}

/// The files of a checkpoint in one piece.
pub(super) fn pack(files: &Files) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(files.values().map(Vec::len).sum::<usize>() + 256);
    for (name, content) in files {
        for part in [name.as_bytes(), content] {
            bytes.extend_from_slice(&(part.len() as u64).to_le_bytes());
            bytes.extend_from_slice(part);
        }
    }
    bytes
}

/// What was packed; none where it was cut.
pub(super) fn unpack(mut bytes: &[u8]) -> Option<Files> {
    let mut part = || -> Option<Option<Vec<u8>>> {
        if bytes.is_empty() {
            return Some(None);
        }
        let (length, rest) = bytes.split_first_chunk::<8>()?;
        let (part, rest) = rest.split_at_checked(u64::from_le_bytes(*length) as usize)?;
        bytes = rest;
        Some(Some(part.to_vec()))
    };
    let mut files = Files::new();
    while let Some(name) = part()? {
        files.insert(String::from_utf8(name).ok()?, part()??);
    }
    Some(files)
}

const ASKS_FOR_END: &[u8] = b"end";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_packed_is_unpacked_and_a_cut_is_noticed() {
        let files = Files::from([("a".to_string(), vec![1, 2]), ("b".to_string(), Vec::new())]);
        let bytes = pack(&files);
        assert_eq!(unpack(&bytes), Some(files));
        assert_eq!(unpack(&bytes[..bytes.len() - 1]), None);
    }
}
