//! Gradients averaged over several answers, for networks that answer at random.

use super::{Attack, AttackError, AttackStream, Passes, Perturbed, Restarts, Victim, VictimError};
use crate::image::{Batch, Images, Logits};

/// Another attack on the expectation over the victim's randomness: each gradient is the mean of several.
///
/// Logits are those of the last draw, as in AutoAttack.
/// Source: Athalye et al. 2018, "Obfuscated gradients give a false sense of security", expectation over transformation.
pub struct Expectation {
    attack: Box<dyn Attack>,
    draws: u32,
}

impl Expectation {
    /// `attack` with every gradient averaged over `draws` answers, named `eot-DRAWS-ATTACK`.
    ///
    /// Errors: `Setting` if `draws` is 0.
    pub fn new(attack: Box<dyn Attack>, draws: u32) -> Result<Self, AttackError> {
        if draws == 0 {
            let (setting, found, expected) = ("draws", "0".to_owned(), "at least 1");
            let attack = format!("eot-0-{}", attack.name());
            return Err(AttackError::Setting { attack, setting, found, expected });
        }
        Ok(Self { attack, draws })
    }
}

impl Attack for Expectation {
    fn name(&self) -> String {
        format!("eot-{}-{}", self.draws, self.attack.name())
    }

    fn perturb(
        &self,
        victim: &mut dyn Victim,
        batch: &Batch,
        stream: &AttackStream,
    ) -> Result<Perturbed, AttackError> {
        self.attack.perturb(&mut Averaged { victim, draws: self.draws }, batch, stream)
    }

    fn restarts(&self) -> Option<Restarts> {
        let Restarts { single, count } = self.attack.restarts()?;
        Some(Restarts { single: Box::new(Self { attack: single, draws: self.draws }), count })
    }

    fn tiles_at_once(&self) -> usize {
        self.attack.tiles_at_once()
    }

    fn resolved(&self) -> Vec<(&'static str, String)> {
        let mut resolved = self.attack.resolved();
        resolved.push(("draws", self.draws.to_string()));
        resolved
    }
}

/// A victim whose gradients are means of several answers.
struct Averaged<'a> {
    victim: &'a mut dyn Victim,
    draws: u32,
}

impl Victim for Averaged<'_> {
    fn classes(&self) -> usize {
        self.victim.classes()
    }

    fn logits(&mut self, images: &Images) -> Result<Logits, VictimError> {
        self.victim.logits(images)
    }

    fn input_gradient(
        &mut self,
        images: &Images,
        loss: &mut dyn FnMut(&Logits, usize, &mut Logits),
    ) -> Result<(Logits, Images), VictimError> {
        let (mut logits, mut mean) = self.victim.input_gradient(images, loss)?;
        for _ in 1..self.draws {
            let (latest, gradient) = self.victim.input_gradient(images, loss)?;
            mean.pixels.iter_mut().zip(&gradient.pixels).for_each(|(m, g)| *m += g);
            logits = latest;
        }
        let share = 1.0 / self.draws as f32;
        mean.pixels.iter_mut().for_each(|m| *m *= share);
        Ok((logits, mean))
    }

    fn passes(&self) -> Passes {
        self.victim.passes()
    }

    fn has_independent_images(&self) -> bool {
        self.victim.has_independent_images()
    }
}
