//! Errors become a message on standard error and an exit code: 1 failed, 2 wrong usage or recipe, 130 or 143
//! interrupted with a checkpoint written.

use std::fmt;
use std::process::ExitCode;

/// The user asked for something that cannot be meant: exit code 2.
#[derive(Debug)]
pub struct WrongUsage(anyhow::Error);

impl fmt::Display for WrongUsage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl std::error::Error for WrongUsage {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source()
    }
}

/// Marks an error as the user's to mend in the command or the recipe.
pub trait OrWrongUsage<T> {
    /// The same result; its error ends the program with code 2 instead of 1.
    fn or_wrong_usage(self) -> anyhow::Result<T>;
}

impl<T, E: Into<anyhow::Error>> OrWrongUsage<T> for Result<T, E> {
    fn or_wrong_usage(self) -> anyhow::Result<T> {
        self.map_err(|error| anyhow::Error::new(WrongUsage(error.into())))
    }
}

/// A run that a signal ended after its checkpoint was written: exit code 128 plus the signal's number.
#[derive(Debug)]
pub struct Interrupted {
    /// The signal: 2 for Ctrl-C, 15 for a termination request.
    pub signal: u8,
}

impl fmt::Display for Interrupted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "interrupted by signal {}", self.signal)
    }
}

impl std::error::Error for Interrupted {}

/// Prints an error with its causes and gives the exit code.
pub fn report(error: &anyhow::Error) -> ExitCode {
    ExitCode::from(print(error))
}

/// Prints an error with its causes and gives the exit code as a number.
pub fn print(error: &anyhow::Error) -> u8 {
    let code = exit_code(error);
    if code != 0 {
        eprintln!("{}", message(error));
    }
    code
}

fn exit_code(error: &anyhow::Error) -> u8 {
    for cause in error.chain() {
        if let Some(interrupted) = cause.downcast_ref::<Interrupted>() {
            return 128 + interrupted.signal;
        }
        if cause.is::<WrongUsage>() {
            return 2;
        }
        // `adamant models | head`: the reader has seen enough, nothing failed.
        if let Some(io) = cause.downcast_ref::<std::io::Error>()
            && io.kind() == std::io::ErrorKind::BrokenPipe
        {
            return 0;
        }
    }
    1
}

/// The error, then every cause that says something new, a line each; hints stay on their own lines.
fn message(error: &anyhow::Error) -> String {
    let mut text = format!("error: {error}");
    for cause in error.chain().skip(1) {
        let cause = cause.to_string();
        if !text.contains(&cause) {
            text.push_str("\n  because: ");
            text.push_str(&cause);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::{Context, anyhow};

    #[test]
    fn a_cause_is_told_once_and_wrong_usage_survives_context() {
        let error = Err::<(), _>(anyhow!("epsilon is 8\n  hint: write \"8/255\""))
            .or_wrong_usage()
            .context("reading the threat")
            .unwrap_err();
        assert_eq!(
            message(&error),
            "error: reading the threat\n  because: epsilon is 8\n  hint: write \"8/255\""
        );
        assert_eq!(exit_code(&error), 2);
        assert_eq!(exit_code(&anyhow!("disk full")), 1);
    }

    #[test]
    fn a_signal_gives_the_shells_exit_codes() {
        assert_eq!(exit_code(&anyhow::Error::new(Interrupted { signal: 2 })), 130);
        assert_eq!(exit_code(&anyhow::Error::new(Interrupted { signal: 15 })), 143);
    }

    #[test]
    fn a_closed_pipe_is_no_failure() {
        let closed = std::io::Error::from(std::io::ErrorKind::BrokenPipe);
        assert_eq!(exit_code(&anyhow::Error::new(closed)), 0);
    }
}
