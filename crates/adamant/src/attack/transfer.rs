//! Adversarial images crafted on another network than the one under attack.

use super::{Attack, AttackError, AttackStream, Perturbed, Restarts, Victim};
use crate::image::Batch;
use std::sync::Arc;

/// A second network that images are crafted on; every thread opens victims of its own.
pub trait Surrogate: Send + Sync {
    /// Hands `work` a victim.
    ///
    /// Errors: those of `work`.
    fn with_victim(
        &self,
        work: &mut dyn FnMut(&mut dyn Victim) -> Result<(), AttackError>,
    ) -> Result<(), AttackError>;
}

/// Another attack, made on a surrogate: what transfers from a network that is not under attack.
///
/// The victim itself is asked nothing, so a result depends on the surrogate alone, and the passes on it are not the
/// victim's. Attacks that leave an image once the surrogate is wrong about it (APGD, FAB, Square) transfer worse than those
/// that go on, such as `mifgsm` and `pgd`.
pub struct Transfer {
    attack: Box<dyn Attack>,
    surrogate: Arc<dyn Surrogate>,
    identity: Option<String>,
}

impl Transfer {
    /// `attack` on `surrogate`, named `transfer-ATTACK`.
    pub fn new(attack: Box<dyn Attack>, surrogate: Arc<dyn Surrogate>) -> Self {
        Self { attack, surrogate, identity: None }
    }

    /// With what tells its surrogate from others, such as a hash, in [`Attack::resolved`].
    pub fn identified(self, identity: String) -> Self {
        Self { identity: Some(identity), ..self }
    }
}

impl Attack for Transfer {
    fn name(&self) -> String {
        format!("transfer-{}", self.attack.name())
    }

    fn perturb(
        &self,
        victim: &mut dyn Victim,
        batch: &Batch,
        stream: &AttackStream,
    ) -> Result<Perturbed, AttackError> {
        let mut found = None;
        let classes = victim.classes();
        self.surrogate.with_victim(&mut |surrogate| {
            if surrogate.classes() != classes {
                return Err(AttackError::Surrogate {
                    found: surrogate.classes(),
                    expected: classes,
                });
            }
            found = Some(self.attack.perturb(surrogate, batch, stream)?);
            Ok(())
        })?;
        Ok(found.expect("a surrogate hands its victim over, or says why not"))
    }

    fn restarts(&self) -> Option<Restarts> {
        let Restarts { single, count } = self.attack.restarts()?;
        let (surrogate, identity) = (Arc::clone(&self.surrogate), self.identity.clone());
        let single = Self { attack: single, surrogate, identity };
        Some(Restarts { single: Box::new(single), count })
    }

    fn tiles_at_once(&self) -> usize {
        self.attack.tiles_at_once()
    }

    fn resolved(&self) -> Vec<(&'static str, String)> {
        let mut resolved = self.attack.resolved();
        resolved.extend(self.identity.clone().map(|identity| ("surrogate", identity)));
        resolved
    }
}
