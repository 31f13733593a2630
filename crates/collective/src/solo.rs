//! World size 1: nothing is sent and nothing is rounded.

use crate::{Collective, CollectiveError};

/// World size 1: a sum over one rank is the value itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Solo;

impl Collective for Solo {
    fn rank(&self) -> usize {
        0
    }

    fn world_size(&self) -> usize {
        1
    }

    fn exchange(
        &self,
        _operation: &'static str,
        messages: Vec<Vec<u8>>,
    ) -> Result<Vec<Vec<u8>>, CollectiveError> {
        Ok(messages)
    }

    fn draw(
        &self,
        _queue: u64,
        of: u64,
        last: Option<u64>,
    ) -> Result<Option<u64>, CollectiveError> {
        let next = last.map_or(0, |last| last + 1);
        Ok((next < of).then_some(next))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Wire;

    #[test]
    fn g30_a_world_of_one_leaves_every_value_as_it_is() {
        let before = [1.5_f32, -0.0, f32::MIN_POSITIVE];
        let mut values = before;
        Solo.sum(&mut values, Wire::Bf16).unwrap();
        Solo.barrier().unwrap();
        assert_eq!(values.map(f32::to_bits), before.map(f32::to_bits));
        assert_eq!(Solo.broadcast(0, vec![7]).unwrap(), [7]);
        assert_eq!((Solo.rank(), Solo.world_size()), (0, 1));
    }

    #[test]
    fn a_root_that_is_no_rank_is_an_error_that_names_it() {
        let error = Solo.broadcast(3, Vec::new()).unwrap_err().to_string();
        assert_eq!(error, "broadcast: rank 3 does not exist, the world has ranks 0 to 0");
    }
}
