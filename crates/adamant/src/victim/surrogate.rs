//! A frozen network as the surrogate of a transfer attack.

use super::FrozenVictim;
use crate::attack::{AttackError, Surrogate, Victim};
use engine::Frozen;

/// A frozen network that adversarial images are crafted on, to be tried on another.
#[derive(Debug)]
pub struct FrozenSurrogate<F: Frozen>(pub F);

impl<F: Frozen> Surrogate for FrozenSurrogate<F> {
    fn with_victim(
        &self,
        work: &mut dyn FnMut(&mut dyn Victim) -> Result<(), AttackError>,
    ) -> Result<(), AttackError> {
        let mut session = self.0.session();
        work(&mut FrozenVictim::new(&mut session, self.0.classes()))
    }
}
