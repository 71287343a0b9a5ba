//! How a command fails: what it writes, and with which exit status it ends. Exit statuses are decided here only.

use crate::setting::Format;
use crate::text::safe;
use eddy_wire::api::Problem;
use eddy_wire::catalogue::{ErrorCode, Exit};
use std::io::Write;
use std::process::ExitCode;

/// Why a command did not do what it was asked for.
#[derive(Debug)]
pub(crate) enum Failure {
    /// A problem of the catalogue.
    Problem(Box<Problem>),
    /// Whoever read our output has gone; what they read was what they wanted.
    OutputClosed,
}

impl From<Problem> for Failure {
    fn from(problem: Problem) -> Self {
        Self::Problem(Box::new(problem))
    }
}

impl From<ErrorCode> for Failure {
    fn from(code: ErrorCode) -> Self {
        Problem::from(code).into()
    }
}

impl Failure {
    /// A problem with what exactly happened.
    pub(crate) fn new(code: ErrorCode, detail: impl Into<String>) -> Self {
        Problem::new(code, detail).into()
    }

    /// An error of ours.
    pub(crate) fn internal(error: impl std::fmt::Display) -> Self {
        Self::new(ErrorCode::Internal, error.to_string())
    }

    /// A failure to write to standard output.
    pub(crate) fn output(error: &std::io::Error) -> Self {
        if error.kind() == std::io::ErrorKind::BrokenPipe {
            return Self::OutputClosed;
        }
        Self::new(ErrorCode::DiskFailed, format!("standard output: {error}"))
    }

    /// Whether it is this error.
    pub(crate) fn is(&self, code: ErrorCode) -> bool {
        matches!(self, Self::Problem(problem) if problem.error_code() == Some(code))
    }

    /// Names the command that starts a node, where none answers.
    pub(crate) fn with_start(self, start: &str) -> Self {
        match self {
            Self::Problem(mut problem) if problem.error_code() == Some(ErrorCode::DaemonUnreachable) => {
                problem.remedy = format!("Start one: {start}");
                Self::Problem(problem)
            }
            other => other,
        }
    }

    /// Writes it to standard error and says how the process ends.
    pub(crate) fn report(&self, format: Format) -> ExitCode {
        if let Self::Problem(problem) = self {
            let text = match format {
                Format::Json => safe::json(problem),
                Format::People => people(problem),
            };
            // There is nowhere left to say that this failed.
            let _ = writeln!(std::io::stderr().lock(), "{text}");
        }
        ExitCode::from(self.exit().number())
    }

    fn exit(&self) -> Exit {
        match self {
            Self::OutputClosed => Exit::Done,
            // A code of another version of eddy is not in our table.
            Self::Problem(problem) => problem.error_code().map_or(Exit::Internal, |code| code.entry().exit),
        }
    }
}

fn people(problem: &Problem) -> String {
    if problem.error_code() == Some(ErrorCode::Interrupted) {
        // What the user did is no error.
        return safe::line(&problem.to_string());
    }
    format!(
        "error[{}]: {}\nremedy: {}",
        safe::line(&problem.code),
        safe::lines(&problem.to_string()),
        safe::line(&problem.remedy)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_a_sentence_and_a_remedy() {
        let problem = Problem::new(ErrorCode::JobNotFound, "7\u{1b}[2J");
        assert_eq!(
            people(&problem),
            "error[job-not-found]: there is no such job: 7\\x1b[2J\n\
             remedy: List the jobs with `eddy job ls`; jobs that have ended are not kept."
        );
    }

    #[test]
    fn the_exit_status_is_the_one_of_the_catalogue() {
        assert_eq!(Failure::from(ErrorCode::UnknownScheme).exit(), Exit::Usage);
        assert_eq!(Failure::OutputClosed.exit(), Exit::Done);
        let newer = Problem { code: "from-the-future".into(), ..ErrorCode::BadUrl.into() };
        assert_eq!(Failure::from(newer).exit(), Exit::Internal);
    }
}
