//! Training: recipe, plan, step, memory and folder of a run.
//!
//! Begin with [`trainer`] (one step), then [`recipe`] (what was written), [`plan`] (what it means), [`checkpoint`] and
//! [`store`] (how a run remembers) and [`run`] (its folder).

pub mod builtin;
pub mod checkpoint;
pub mod error;
pub mod fit;
pub mod forward;
pub mod guard;
mod meaning;
pub mod plan;
pub mod precision;
pub mod recipe;
pub mod recipe_error;
pub mod record;
pub mod run;
pub mod sections;
pub mod store;
pub mod trainer;
pub mod validation;
