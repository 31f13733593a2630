//! Studies: grids of recipes whose outcomes bear on the paper's claims.
//!
//! Begin with [`Study`] (a study as written, TOML), then [`Cell`] (one recipe of its grid), [`CellRecord`] (what one cell
//! found: the committed raw result) and [`judge`] (claims against records, by rules that are pure functions).
//! [`Page`] and [`claims_table`] make documents of records alone. Nothing here trains; the binary does, cell by cell.

mod builtin;
mod claims;
mod contrast;
mod cost;
mod document;
mod error;
mod figure;
mod findings;
mod grid;
mod images;
mod page;
mod quantity;
mod record;
mod spearman;
mod statistics;
mod twin;
mod verdict;
mod written;

pub use builtin::{STUDIES, study};
pub use claims::{Claim, paper_claims, table as claims_table};
pub use contrast::{Contrast, Estimate};
pub use cost::work;
pub use error::StudyError;
pub use figure::figures;
pub use findings::{Finding, judge};
pub use grid::{CHOICE_RULE, Cell, Choice, choose, settings};
pub use images::{Bits, ImageRecord};
pub use page::{Page, page};
pub use quantity::{Measured, Quantity, STATISTICS, TRAINING};
pub use record::{AttackRecord, CellRecord, EvaluationRecord, TrainingRecord, read_records};
pub use spearman::{Trend, trend};
pub use statistics::StatisticsRecord;
pub use twin::{Twin, Twins};
pub use verdict::{Expectation, Verdict, of_estimate, of_trend};
pub use written::{Arm, EvaluationSpec, Quick, Regime, Rule, StatisticsSpec, Study, Test, Weights};
