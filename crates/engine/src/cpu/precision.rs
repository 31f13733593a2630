//! The frozen engines of this processor behind one type: the precision is chosen when a network is frozen.

use super::frozen::{SingleFrozen, SingleSession};
use super::half::{HalfFrozen, HalfSession};
use crate::{
    EngineError, Frozen, ImagesView, Logits, Observable, Session, StepDescription, StepObserver,
    Unobserved,
};
use network::Shape;

/// A network with the running statistics of one domain, prepared for many passes.
#[derive(Debug)]
pub struct CpuFrozen(Kind);

#[derive(Debug)]
enum Kind {
    Single(Box<SingleFrozen>),
    Half(Box<HalfFrozen>),
}

impl CpuFrozen {
    pub(crate) fn single(frozen: SingleFrozen) -> Self {
        Self(Kind::Single(Box::new(frozen)))
    }

    pub(crate) fn half(frozen: HalfFrozen) -> Self {
        Self(Kind::Half(Box::new(frozen)))
    }
}

/// One thread over a frozen network; what it worked in is handed on to later sessions.
#[derive(Debug)]
pub struct CpuSession<'a>(Over<'a>);

#[derive(Debug)]
enum Over<'a> {
    Single(Box<SingleSession<'a>>),
    Half(Box<HalfSession<'a>>),
}

impl Frozen for CpuFrozen {
    type Session<'a> = CpuSession<'a>;

    fn session(&self) -> CpuSession<'_> {
        CpuSession(match &self.0 {
            Kind::Single(frozen) => Over::Single(Box::new(frozen.session())),
            Kind::Half(frozen) => Over::Half(Box::new(frozen.session())),
        })
    }

    fn tile(&self) -> usize {
        match &self.0 {
            Kind::Single(frozen) => frozen.tile(),
            Kind::Half(frozen) => frozen.tile(),
        }
    }

    fn input(&self) -> Shape {
        match &self.0 {
            Kind::Single(frozen) => frozen.input(),
            Kind::Half(frozen) => frozen.input(),
        }
    }

    fn classes(&self) -> usize {
        match &self.0 {
            Kind::Single(frozen) => frozen.classes(),
            Kind::Half(frozen) => frozen.classes(),
        }
    }
}

impl Session for CpuSession<'_> {
    fn logits(&mut self, images: ImagesView<'_>) -> Result<Logits, EngineError> {
        match &mut self.0 {
            Over::Single(session) => session.logits(images),
            Over::Half(session) => session.logits(images),
        }
    }

    fn input_gradient(
        &mut self,
        images: ImagesView<'_>,
        loss: &mut dyn FnMut(&Logits, usize, &mut Logits),
    ) -> Result<(Logits, Vec<f32>), EngineError> {
        match &mut self.0 {
            Over::Single(session) => session.input_gradient(images, loss),
            Over::Half(session) => session.input_gradient(images, loss, &mut Unobserved),
        }
    }

    fn remember(&mut self, images: ImagesView<'_>) -> Result<Logits, EngineError> {
        match &mut self.0 {
            Over::Single(session) => session.remember(images),
            Over::Half(session) => session.logits(images),
        }
    }

    fn logits_near(
        &mut self,
        near: &[usize],
        images: ImagesView<'_>,
    ) -> Result<Logits, EngineError> {
        match &mut self.0 {
            Over::Single(session) => session.logits_near(near, images),
            Over::Half(session) => session.logits(images),
        }
    }

    fn accept(&mut self, near: &[usize]) {
        match &mut self.0 {
            Over::Single(session) => session.accept(near),
            Over::Half(_) => {}
        }
    }
}

impl Observable for CpuFrozen {
    fn steps(&self) -> Vec<StepDescription> {
        match &self.0 {
            Kind::Single(frozen) => frozen.steps(),
            Kind::Half(frozen) => frozen.steps(),
        }
    }

    fn observed_input_gradient(
        session: &mut CpuSession<'_>,
        images: ImagesView<'_>,
        loss: &mut dyn FnMut(&Logits, usize, &mut Logits),
        observer: &mut dyn StepObserver,
    ) -> Result<(Logits, Vec<f32>), EngineError> {
        match &mut session.0 {
            Over::Single(session) => {
                SingleFrozen::observed_input_gradient(session, images, loss, observer)
            }
            Over::Half(session) => session.input_gradient(images, loss, observer),
        }
    }
}
