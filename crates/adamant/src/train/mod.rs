//! Training: recipe, plan, step, memory and folder of a run.
//!
//! Begin with [`recipe`] (what was written), then [`store`] (how checkpoints reach the disk) and [`run`] (its folder).

pub mod recipe;
pub mod recipe_error;
pub mod record;
pub mod run;
pub mod sections;
pub mod store;
