//! The ranks that a launcher started, or this process alone.

use crate::failure::OrWrongUsage;
use crate::settings::Settings;
use collective::{Collective, CollectiveError, Solo};
use std::time::Duration;

/// The world of this process.
pub enum World {
    /// One rank, no launcher.
    Solo(Solo),
    /// Processes that MPI joins.
    #[cfg(feature = "mpi")]
    Mpi(collective::Mpi),
}

/// What launchers tell every process: the number of ranks, for Open MPI, for MPICH and its kin, for Slurm's srun. The tasks
/// of a whole Slurm job are not asked for: its batch script has them too, and starts one process.
const SIZES: [&str; 4] =
    ["OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "MPI_LOCALNRANKS", "SLURM_STEP_NUM_TASKS"];

impl World {
    /// Joins the launcher's world; without a launcher MPI is not touched.
    ///
    /// Errors: a launcher, but a program without MPI, or one whose MPI does not know the launcher; the library's.
    pub fn join(limit: Duration) -> anyhow::Result<Self> {
        let told = |name: &&str| std::env::var(name).ok()?.parse::<usize>().ok();
        match SIZES.iter().find_map(told) {
            None | Some(1) if std::env::var_os("PMIX_RANK").is_none() => Ok(Self::Solo(Solo)),
            size => Self::join_launched(size, limit),
        }
    }

    #[cfg(feature = "mpi")]
    fn join_launched(size: Option<usize>, limit: Duration) -> anyhow::Result<Self> {
        let mpi = collective::Mpi::join(limit)?;
        match size {
            // Each would train the same run by itself.
            Some(size) if size > 1 && mpi.world_size() == 1 => Err(anyhow::anyhow!(
                "a launcher has started {size} of this program, but MPI knows of one\n  \
                 hint: a launcher of the MPI that this program was built with; with Slurm, srun --mpi=pmix"
            ))
            .or_wrong_usage(),
            _ => Ok(Self::Mpi(mpi)),
        }
    }

    #[cfg(not(feature = "mpi"))]
    fn join_launched(size: Option<usize>, _limit: Duration) -> anyhow::Result<Self> {
        // One process of a launcher does no harm without MPI.
        if size.is_none_or(|size| size == 1) {
            return Ok(Self::Solo(Solo));
        }
        let ranks = size.unwrap_or(1);
        Err(anyhow::anyhow!(
            "an MPI launcher has started {ranks} of this program, which was built without MPI\n  \
             hint: cargo build --release --features mpi; see docs/many-machines.md"
        ))
        .or_wrong_usage()
    }

    /// How the ranks agree.
    pub fn ranks(&self) -> &dyn Collective {
        match self {
            Self::Solo(solo) => solo,
            #[cfg(feature = "mpi")]
            Self::Mpi(mpi) => mpi,
        }
    }

    /// What this rank says: only rank 0 speaks unasked.
    pub fn settings(&self, settings: &Settings) -> Settings {
        let is_first = self.ranks().rank() == 0;
        Settings { quiet: settings.quiet || !is_first, ..settings.clone() }
    }

    /// What a rank has come to. Where the others would wait for it, the whole job ends here.
    pub fn end<T>(self, outcome: anyhow::Result<T>, known: Known) -> anyhow::Result<T> {
        let (rank, size) = (self.ranks().rank(), self.ranks().world_size());
        let Err(error) = outcome else { return outcome };
        if size == 1 {
            return Err(error);
        }
        let error = error.context(format!("rank {rank} of {size}"));
        if known == Known::ToThisRank || error.chain().any(|cause| cause.is::<CollectiveError>()) {
            let code = crate::failure::print(&error);
            self.abort(i32::from(code));
        }
        Err(error)
    }

    #[cfg(feature = "mpi")]
    fn abort(self, code: i32) {
        if let Self::Mpi(mpi) = self {
            mpi.abort(code);
            std::process::exit(code);
        }
    }

    #[cfg(not(feature = "mpi"))]
    fn abort(self, _code: i32) {}
}

/// This program, as ranks compare it.
pub fn program() -> String {
    let (version, revision) = (env!("CARGO_PKG_VERSION"), env!("ADAMANT_REVISION"));
    let dirty = if env!("ADAMANT_DIRTY") == "true" { ", changed" } else { "" };
    format!("{version}, {revision}{dirty}")
}

/// How long ranks wait for each other.
#[derive(clap::Args, Clone, Copy, Debug)]
pub struct RankTimeout {
    /// Seconds after which a rank that others wait for is taken for lost, and the job ends.
    #[arg(long = "rank-timeout", value_name = "SECONDS", default_value_t = 600.0)]
    seconds: f64,
}

impl RankTimeout {
    /// The limit; a number that is none means none.
    pub fn duration(self) -> Duration {
        Duration::try_from_secs_f64(self.seconds).unwrap_or(Duration::MAX)
    }
}

/// Who knows of an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Known {
    /// The others wait for this rank.
    ToThisRank,
    /// The others have been told.
    ToAll,
}
