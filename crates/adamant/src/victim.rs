//! Networks under attack: what an engine offers, as a [`Victim`].
//!
//! [`FrozenVictim`] is the usual one: running statistics, images independent of each other. [`BatchVictim`] crafts
//! with batch statistics, where a recipe asks for them. [`perturb_in_tiles`] runs an attack on all cores.

mod surrogate;
mod tiles;

pub use surrogate::FrozenSurrogate;
pub use tiles::{logits_in_tiles, perturb_along_in_tiles, perturb_in_tiles};

use crate::attack::{Passes, Victim, VictimError};
use crate::image::{Images, Logits};
use engine::{Engine, EngineError, Session, Wants};
use network::{Domain, Network, Pass};

/// One thread's session over a frozen network, counting passes.
#[derive(Debug)]
pub struct FrozenVictim<'a, S: Session> {
    session: &'a mut S,
    classes: usize,
    passes: Passes,
}

impl<'a, S: Session> FrozenVictim<'a, S> {
    /// A victim that has made no pass yet; `classes` is the network's.
    pub fn new(session: &'a mut S, classes: usize) -> Self {
        Self { session, classes, passes: Passes::default() }
    }
}

impl<S: Session> Victim for FrozenVictim<'_, S> {
    fn classes(&self) -> usize {
        self.classes
    }

    fn logits(&mut self, images: &Images) -> Result<Logits, VictimError> {
        self.passes.forward += images.count as u64;
        self.session.logits(images.view()).map_err(failed)
    }

    fn remember(&mut self, images: &Images) -> Result<Logits, VictimError> {
        self.passes.forward += images.count as u64;
        self.session.remember(images.view()).map_err(failed)
    }

    fn logits_near(&mut self, near: &[usize], images: &Images) -> Result<Logits, VictimError> {
        self.passes.forward += images.count as u64;
        self.session.logits_near(near, images.view()).map_err(failed)
    }

    fn accept(&mut self, near: &[usize]) {
        self.session.accept(near);
    }

    fn input_gradient(
        &mut self,
        images: &Images,
        loss: &mut dyn FnMut(&Logits, usize, &mut Logits),
    ) -> Result<(Logits, Images), VictimError> {
        self.passes.forward += images.count as u64;
        self.passes.backward += images.count as u64;
        let (logits, pixels) = self.session.input_gradient(images.view(), loss).map_err(failed)?;
        Ok((logits, Images { count: images.count, shape: images.shape, pixels }))
    }

    fn passes(&self) -> Passes {
        self.passes
    }
}

/// A network that normalises by the statistics of the batch under attack; nothing absorbs them (T2).
///
/// Images depend on each other here, so the whole batch must be attacked at once: never in tiles.
#[derive(Debug)]
pub struct BatchVictim<'a, E: Engine> {
    engine: &'a E,
    network: &'a Network,
    pass: Pass,
    passes: Passes,
}

impl<'a, E: Engine> BatchVictim<'a, E> {
    /// A victim that has made no pass yet; all images take the branch of `domain`.
    pub fn new(engine: &'a E, network: &'a Network, domain: Domain) -> Self {
        Self { engine, network, pass: Pass::batch(domain), passes: Passes::default() }
    }
}

impl<E: Engine> Victim for BatchVictim<'_, E> {
    fn classes(&self) -> usize {
        self.network.graph.classes
    }

    fn logits(&mut self, images: &Images) -> Result<Logits, VictimError> {
        self.passes.forward += images.count as u64;
        let (logits, _) =
            self.engine.record(self.network, images.view(), &self.pass).map_err(failed)?;
        Ok(logits)
    }

    fn input_gradient(
        &mut self,
        images: &Images,
        loss: &mut dyn FnMut(&Logits, usize, &mut Logits),
    ) -> Result<(Logits, Images), VictimError> {
        self.passes.forward += images.count as u64;
        self.passes.backward += images.count as u64;
        let (logits, recording) =
            self.engine.record(self.network, images.view(), &self.pass).map_err(failed)?;
        let mut by_logits = Logits::zeros(logits.count, logits.classes);
        loss(&logits, 0, &mut by_logits);
        let gradients = self
            .engine
            .backward(self.network, &recording, &by_logits, Wants::Input)
            .map_err(failed)?;
        let (count, shape) = (images.count, images.shape);
        Ok((logits, Images { count, shape, pixels: gradients.input }))
    }

    fn passes(&self) -> Passes {
        self.passes
    }

    fn has_independent_images(&self) -> bool {
        false
    }
}

fn failed(error: EngineError) -> VictimError {
    VictimError(Box::new(error))
}
