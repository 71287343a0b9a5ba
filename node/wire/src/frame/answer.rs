//! What a member holds of the entities that it was asked for.
//!
//! "Not here" is one answer for absent and for not allowed (T-12).

use super::request::{read_run, write_run};
use super::sealed::Layout;
use super::{FrameError, MAX_FRAME, MAX_KEYS, MAX_RUNS, Unsendable, kind};
use crate::cursor::Cursor;
use eddy_content::{BlockSet, Geometry};
use std::ops::Range;

/// The answers to one [`super::Request::Ask`], one for each key in its order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answers(pub Vec<Answer>);

/// What a member holds of one entity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// Nothing that the asker may have.
    NotHere,
    /// These blocks of it.
    Holds {
        /// Bytes of the whole entity.
        length: u64,
        /// At least one block. When there are more runs than fit, the frame carries the first ones: a member may hold
        /// more than it says.
        blocks: BlockSet,
    },
}

const NOT_HERE: u8 = 0;
const HOLDS: u8 = 1;
/// Bytes of a run: start and count.
const RUN_LENGTH: usize = 8;
/// Bytes of an answer without its runs, with some to spare.
const ANSWER_LENGTH: usize = 16;

impl Layout for Answers {
    fn write(&self, out: &mut Vec<u8>) -> Result<(), Unsendable> {
        if !(1..=MAX_KEYS).contains(&self.0.len()) {
            return Err(Unsendable::TooMany { field: "answers" });
        }
        out.extend_from_slice(&[kind::ANSWERS, self.0.len() as u8]);
        let most_runs = runs_for_each(self.0.len());
        self.0.iter().for_each(|answer| write_answer(answer, most_runs, out));
        Ok(())
    }

    fn read(cursor: &mut Cursor<'_>) -> Result<Self, FrameError> {
        match cursor.u8()? {
            kind::ANSWERS => {}
            found => return Err(FrameError::Kind { found }),
        }
        let count = usize::from(cursor.u8()?);
        if !(1..=MAX_KEYS).contains(&count) {
            return Err(FrameError::Field { field: "number of answers" });
        }
        (0..count).map(|_| read_answer(cursor)).collect::<Result<_, _>>().map(Self)
    }
}

/// Runs that each of `answers` answers may name so that all of them fit one frame.
const fn runs_for_each(answers: usize) -> usize {
    let fit = (MAX_FRAME / answers - ANSWER_LENGTH) / RUN_LENGTH;
    if fit < MAX_RUNS { fit } else { MAX_RUNS }
}

fn write_answer(answer: &Answer, most_runs: usize, out: &mut Vec<u8>) {
    match answer {
        Answer::Holds { length, blocks } if !blocks.is_empty() => {
            out.push(HOLDS);
            out.extend_from_slice(&length.to_le_bytes());
            let runs = blocks.run_count().min(most_runs);
            out.extend_from_slice(&(runs as u16).to_le_bytes());
            blocks.runs().take(runs).for_each(|run| write_run(&run, out));
        }
        Answer::Holds { .. } | Answer::NotHere => out.push(NOT_HERE),
    }
}

fn read_answer(cursor: &mut Cursor<'_>) -> Result<Answer, FrameError> {
    match cursor.u8()? {
        NOT_HERE => Ok(Answer::NotHere),
        HOLDS => {
            let length = cursor.u64()?;
            let geometry = Geometry::new(length).ok_or(FrameError::Field { field: "length" })?;
            Ok(Answer::Holds { length, blocks: read_blocks(cursor, geometry.block_count())? })
        }
        _ => Err(FrameError::Field { field: "answer" }),
    }
}

/// Reads runs that must be ascending, apart from each other, and inside an entity of `block_count` blocks.
fn read_blocks(cursor: &mut Cursor<'_>, block_count: u32) -> Result<BlockSet, FrameError> {
    let count = usize::from(cursor.u16()?);
    if !(1..=MAX_RUNS).contains(&count) {
        return Err(FrameError::Field { field: "number of runs" });
    }
    let mut runs: Vec<Range<u32>> = Vec::with_capacity(count);
    for _ in 0..count {
        let run = read_run(cursor)?;
        let is_apart = runs.last().is_none_or(|before| before.end < run.start);
        if run.is_empty() || run.end > block_count || !is_apart {
            return Err(FrameError::Field { field: "runs" });
        }
        runs.push(run);
    }
    Ok(union(&runs))
}

/// Joins runs by halves: run by run would cost the square of their number, which a peer chooses.
fn union(runs: &[Range<u32>]) -> BlockSet {
    match runs {
        [] => BlockSet::new(),
        [run] => BlockSet::from_run(run.clone()),
        _ => {
            let (left, right) = runs.split_at(runs.len() / 2);
            let mut blocks = union(left);
            blocks.union_with(&union(right));
            blocks
        }
    }
}
