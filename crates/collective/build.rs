//! With the feature `mpi`: says what to install where the library is missing, before its bindings fail less clearly.

use std::env;
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=MPICC");
    println!("cargo::rerun-if-env-changed=PATH");
    if env::var_os("CARGO_FEATURE_MPI").is_none() {
        return;
    }
    let compiler = env::var("MPICC").unwrap_or_else(|_| "mpicc".to_string());
    let answers = Command::new(&compiler).arg("-show").output().is_ok_and(|o| o.status.success());
    if !answers {
        println!(
            "cargo::error=the feature `mpi` needs an MPI library, but `{compiler} -show` does not answer; install \
             libopenmpi-dev openmpi-bin libclang-dev (Debian, Ubuntu), openmpi-devel clang-devel (Fedora, RHEL: then \
             `module load mpi`), open-mpi llvm (Homebrew), or set MPICC; see docs/many-machines.md"
        );
    }
}
