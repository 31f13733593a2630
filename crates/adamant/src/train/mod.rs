//! Training: recipe, plan, step, memory and folder of a run.
//!
//! Begin with [`recipe`] (what was written), then [`store`] (how checkpoints reach the disk).

pub mod recipe;
pub mod recipe_error;
pub mod sections;
pub mod store;
