//! Plans of one graph and the places that sessions work in, kept from freeze to freeze: training freezes every step.

use super::super::lower::Program;
use super::plan::Plan;
use super::workplace::Workplace;
use kernels::Isa;
use network::Graph;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Everything about one graph in half precision that does not depend on weights.
#[derive(Debug)]
pub(crate) struct Plans {
    graph: Graph,
    isa: Isa,
    by_images: Mutex<HashMap<usize, Arc<Plan>>>,
    places: Mutex<Vec<Workplace>>,
}

impl Plans {
    pub fn new(graph: &Graph, isa: Isa) -> Self {
        Self { graph: graph.clone(), isa, by_images: Mutex::default(), places: Mutex::default() }
    }

    /// Whether this is about `graph`.
    pub fn is_of(&self, graph: &Graph) -> bool {
        self.graph == *graph
    }

    /// The plan for `images` images, a power of two; `program` is the lowered folded graph.
    pub fn plan(&self, program: &Program, images: usize) -> Arc<Plan> {
        let mut plans = lock(&self.by_images);
        Arc::clone(
            plans.entry(images).or_insert_with(|| Arc::new(Plan::new(self.isa, program, images))),
        )
    }

    /// Buffers for a plan: some that a session has left, or new ones.
    pub fn workplace(&self, plan: &Plan, pixels: usize) -> Workplace {
        let mut places = lock(&self.places);
        let left = places.iter().position(|place| place.images == plan.images);
        match left {
            Some(index) => places.swap_remove(index),
            None => {
                drop(places);
                Workplace::new(plan, pixels)
            }
        }
    }

    /// Takes buffers back.
    pub fn give(&self, place: Workplace) {
        lock(&self.places).push(place);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Every change is a single insertion or removal, so a panic elsewhere leaves nothing half done.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
