//! Attacks held to the groups of the test specification, on victims with known answers.
//!
//! Begin with `table`: every test runs over all attacks by name. `linear` is a classifier whose robust accuracy has a
//! closed form, behind the same border as the engine's networks.

mod golden;
mod linear;
mod table;

mod g11_monotone;
mod g13_work;
mod g14_judgement;
mod g15_targets;
mod g18_golden;
mod g1_sign;
mod g20_low_precision;
mod g29_starts;
mod g4_nulls;
mod g5_rejection;
mod g6_nothing_else_changes;
mod g7_batch_independence;
mod g8_seeds_and_restarts;
mod g9_linear_closed_form;
mod wrappers;
