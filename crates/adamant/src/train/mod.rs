//! Training: recipe, plan, step, memory and folder of a run.
//!
//! Begin with [`trainer`] (one step), then [`recipe`] (what was written), [`plan`] (what it means), [`checkpoint`] and
//! [`store`] (how a run remembers) and [`run`] (its folder).

pub mod alarm;
pub mod buckets;
pub mod builtin;
pub mod checkpoint;
mod data_section;
pub mod error;
pub mod event;
pub mod fault;
pub mod fit;
pub mod follow;
pub mod forward;
pub mod history;
mod judging;
mod keeper;
mod lines;
pub mod lock;
mod meaning;
mod meeting;
pub mod plan;
mod pooling;
pub mod precision;
mod ranks;
pub mod recipe;
pub mod recipe_error;
pub mod record;
pub mod resume;
pub mod run;
pub mod sections;
pub mod store;
pub mod survey;
mod synchronised;
pub mod trainer;
mod training_section;
pub mod validation;
