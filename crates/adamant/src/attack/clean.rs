//! The attack that does nothing: a null object where others branch.

use super::check::check_batch;
use super::{Attack, AttackError, AttackStream, Perturbed, Victim};
use crate::image::Batch;

/// No attack: the images as they are. Clean accuracy is robust accuracy under it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoAttack;

impl Attack for NoAttack {
    fn name(&self) -> String {
        "clean".to_owned()
    }

    fn perturb(
        &self,
        victim: &mut dyn Victim,
        batch: &Batch,
        stream: &AttackStream,
    ) -> Result<Perturbed, AttackError> {
        check_batch(victim, batch)?;
        Ok(Perturbed {
            images: batch.images.clone(),
            targets: None,
            restarts: vec![stream.first_restart; batch.images.count],
        })
    }
}
