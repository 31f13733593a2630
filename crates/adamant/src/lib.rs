//! The science: data, threat, attack, objective, training and evaluation.
//!
//! Begin with [`threat`] (what the adversary may do), [`attack`] (how it searches) and [`image`] (what all share).
//! Library code does not print; errors are typed.

#![forbid(unsafe_code)]

pub mod attack;
pub mod data;
pub mod diagnose;
pub mod evaluate;
pub mod forecast;
pub mod image;
pub mod objective;
pub mod optimizer;
pub mod report;
pub mod schedule;
pub mod spread;
pub mod stream;
pub mod study;
pub mod threat;
pub mod train;
pub mod victim;
