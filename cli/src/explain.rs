//! `eddy explain`: what an error code means.

use crate::failure::Failure;
use crate::setting::Setting;
use crate::text::safe;
use crate::text::table::{Column, facts, table};
use clap::Args;
use eddy_wire::api::Problem;
use eddy_wire::catalogue::{Answer, BitsCode, Class, Entry, ErrorCode, Exit};

/// `eddy explain`.
#[derive(Debug, Args)]
pub struct ExplainArgs {
    /// The code as in error[CODE], or a code of BITS by number or name, such as 0x80200001; without it, all are listed
    pub code: Option<String>,
    /// List the exit statuses
    #[arg(long, conflicts_with = "code")]
    pub exits: bool,
}

pub(crate) fn run(args: &ExplainArgs, setting: &Setting) -> Result<(), Failure> {
    if args.exits {
        return exits(setting);
    }
    let Some(text) = &args.code else { return list(setting) };
    let bits = BitsCode::lookup(text);
    let mut found = ErrorCode::lookup(text);
    if let Some(Answer::Code(code)) = bits.map(|bits| bits.eddy) {
        found.retain(|other| *other != code);
        found.insert(0, code);
    }
    if found.is_empty() && bits.is_none() {
        return Err(unknown(text));
    }
    let problems: Vec<Problem> = found.iter().copied().map(Problem::from).collect();
    let people = || {
        let rows = found.iter().map(|code| one(code.entry()));
        bits.map(|bits| of_bits(&bits)).into_iter().chain(rows).collect::<Vec<_>>().join("\n")
    };
    match bits {
        Some(bits) => {
            let reason = match bits.eddy {
                Answer::Code(_) => None,
                Answer::Never(reason) => Some(reason),
            };
            let number = format!("0x{:08x}", bits.number);
            let known =
                serde_json::json!({"code": number, "name": bits.name, "meaning": bits.meaning, "never": reason});
            setting.answer(&serde_json::json!({"bits": known, "eddy": problems}), people)
        }
        None => setting.answer(&problems, people),
    }
}

/// A code of BITS, and why eddy never says the same, if it does not.
fn of_bits(bits: &BitsCode) -> String {
    let head = format!("0x{:08x} ({}) in BITS: {}\n", bits.number, bits.name, bits.meaning);
    match bits.eddy {
        Answer::Code(_) => head,
        Answer::Never(reason) => format!("{head}\nIt never comes to that: {reason}.\n"),
    }
}

fn unknown(text: &str) -> Failure {
    let similar = ErrorCode::similar(text);
    let hint = if similar.is_empty() { String::new() } else { format!("; similar: {}", similar.join(", ")) };
    Failure::new(ErrorCode::BadUsage, format!("no error has the code {}{hint}", safe::line(text)))
}

fn one(entry: &Entry) -> String {
    let fault = match entry.class {
        Class::User => "what was asked for",
        Class::Origin => "the origin",
        Class::Network => "the way to the origin",
        Class::Peer => "a peer",
        Class::Disk => "a disk of this machine, or the rights on it",
        Class::Eddy => "eddy",
    };
    let retry = if entry.retry.helps() { "may help; jobs do so by themselves" } else { "does not help" };
    let head = format!("{}: {}\n\n{}\n\n", entry.code, entry.sentence, entry.remedy);
    head + &facts(&[
        ("at fault", fault.to_owned()),
        ("trying again", retry.to_owned()),
        ("exit status", format!("{} ({})", entry.exit.number(), entry.exit.meaning())),
        ("in BITS", entry.bits.unwrap_or_default().to_owned()),
    ])
}

fn list(setting: &Setting) -> Result<(), Failure> {
    let problems: Vec<Problem> = ErrorCode::ALL.iter().copied().map(Problem::from).collect();
    setting.answer(&problems, || {
        let rows =
            ErrorCode::ALL.iter().map(|code| vec![code.entry().code.to_owned(), code.entry().sentence.to_owned()]);
        table(&[Column::Text("CODE"), Column::Text("MEANING")], rows)
    })
}

fn exits(setting: &Setting) -> Result<(), Failure> {
    let values: Vec<_> = Exit::ALL
        .iter()
        .map(|exit| serde_json::json!({"status": exit.number(), "name": exit.name(), "meaning": exit.meaning()}))
        .collect();
    setting.answer(&values, || {
        let row = |exit: &Exit| vec![exit.number().to_string(), exit.name().to_owned(), exit.meaning().to_owned()];
        let columns = [Column::Number("STATUS"), Column::Text("NAME"), Column::Text("MEANING")];
        table(&columns, Exit::ALL.iter().map(row))
    })
}
