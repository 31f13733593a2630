//! Whether all ranks work at the same thing.

use crate::{Collective, CollectiveError};

/// Compares named facts, such as hashes of recipe and program, with those of rank 0.
///
/// Errors: `Differs`, naming the first fact and rank that differ, the same on every rank; as
/// [`Collective::exchange`].
pub fn agree(ranks: &dyn Collective, facts: &[(&str, String)]) -> Result<(), CollectiveError> {
    if ranks.world_size() == 1 {
        return Ok(());
    }
    let told: Vec<&str> = facts.iter().map(|(_, fact)| fact.as_str()).collect();
    let gathered = ranks.gather("agree", told.join("\0").as_bytes())?;
    let split = |bytes: &[u8]| -> Vec<String> {
        String::from_utf8_lossy(bytes).split('\0').map(str::to_string).collect()
    };
    let first = split(&gathered[0]);
    for (other, bytes) in gathered.iter().enumerate().skip(1) {
        let theirs = split(bytes);
        for (place, (what, _)) in facts.iter().enumerate() {
            let of = |facts: &[String]| facts.get(place).cloned().unwrap_or_default();
            let (found, expected) = (of(&theirs), of(&first));
            if found != expected {
                let what = (*what).to_string();
                return Err(CollectiveError::Differs { what, other, found, expected });
            }
        }
    }
    Ok(())
}
