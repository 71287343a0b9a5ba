//! Members that lie: every lie is found before a wrong byte is kept, and the truth still passes.

use crate::kit::{BLOCK, Failure, Member, content, entity, group};
use crate::wire::{Puppet, Then, Truth, answer, identity};
use eddy_cache::WriteError;
use eddy_content::{BlockHash, Entity};
use eddy_node::group::Group;
use eddy_node::identity::Identity;
use eddy_node::peer::{Lie, ReadFailure};
use eddy_wire::frame::RunHeader;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::ops::Range;

/// The entity that is read: four whole blocks and a short one.
const LENGTH: usize = 4 * BLOCK + 4321;
const ALL: Range<u32> = 0..5;
/// What one lie may cost: the block that is wrong, and nothing of the next one, which came in the same packets.
const MOST_LOST: u64 = BLOCK as u64;

/// Ways to lie.
#[derive(Debug, Clone, Copy)]
enum Bend {
    Data,
    Hash,
    Certificate,
    Signature,
    Key,
    Length,
    Group,
    Run,
    Time,
    Signer,
    OtherGroupsMember,
    OtherMembersCertificate,
    NoStatement,
    OtherEntity,
    OtherVersion,
    OtherRun,
    NotAsked,
    Backwards,
    ShorterData,
    AnyByte,
}

const BENDS: [Bend; 20] = [
    Bend::Data,
    Bend::Hash,
    Bend::Certificate,
    Bend::Signature,
    Bend::Key,
    Bend::Length,
    Bend::Group,
    Bend::Run,
    Bend::Time,
    Bend::Signer,
    Bend::OtherGroupsMember,
    Bend::OtherMembersCertificate,
    Bend::NoStatement,
    Bend::OtherEntity,
    Bend::OtherVersion,
    Bend::OtherRun,
    Bend::NotAsked,
    Bend::Backwards,
    Bend::ShorterData,
    Bend::AnyByte,
];

struct Scene<'a> {
    group: Group,
    other_group: Group,
    signer: Identity,
    other_signer: Identity,
    truth: Truth<'a>,
    other_entity: Truth<'a>,
    other_version: Truth<'a>,
}

fn flip(random: &mut StdRng, bytes: &mut [u8]) {
    let at = random.random_range(0..bytes.len());
    bytes[at] ^= 1 << random.random_range(0..8);
}

impl Scene<'_> {
    /// An answer to a read of `blocks` with one lie in it.
    fn bend(&self, bend: Bend, blocks: &Range<u32>, random: &mut StdRng) -> Vec<u8> {
        let mut header = self.truth.header(&self.group, &self.signer, blocks.clone());
        let mut bytes = self.truth.bytes(blocks.clone());
        let resigned = |change: &dyn Fn(&mut eddy_wire::statement::Statement)| {
            let mut statement = self.truth.statement(blocks.clone());
            change(&mut statement);
            statement.sign(self.signer.signing_key())
        };
        let said = &mut header.statements[0];
        match bend {
            Bend::Data => flip(random, &mut bytes),
            Bend::Hash => {
                let at = random.random_range(0..header.hashes.len());
                flip(random, &mut header.hashes[at].0);
            }
            Bend::Certificate => flip(random, &mut said.certificate),
            Bend::Signature => flip(random, &mut said.signed.signature),
            // Truly signed, but about something else.
            Bend::Key => said.signed = resigned(&|statement| statement.key.0[7] ^= 1),
            Bend::Length => said.signed = resigned(&|statement| statement.length += 1),
            Bend::Group => said.signed = resigned(&|statement| statement.group.0[0] ^= 1),
            Bend::Run => said.signed = resigned(&|statement| statement.run.0[31] ^= 128),
            // Changed after it was signed.
            Bend::Time => said.signed.statement.time += 1,
            Bend::Signer => said.signed.statement.signer = self.other_signer.node_id(),
            Bend::OtherGroupsMember => {
                *said = self.truth.endorsed(&self.other_group, &self.signer, blocks.clone());
            }
            Bend::OtherMembersCertificate => {
                said.certificate = self.group.certify(&self.other_signer).expect("certifies").certificate.to_vec();
            }
            Bend::NoStatement => header.statements.clear(),
            // Replays: everything is consistent and signed, of another entity, another version, another run.
            Bend::OtherEntity => return self.replay(&self.other_entity, blocks),
            Bend::OtherVersion => return self.replay(&self.other_version, blocks),
            Bend::OtherRun => {
                let other = if blocks.start > 0 { 0..blocks.start } else { blocks.end..ALL.end };
                let other = if other.is_empty() { 1..ALL.end } else { other };
                header.hashes_from = 0;
                header.hashes = self.truth.hashes(ALL);
                header.statements[0] = self.truth.endorsed(&self.group, &self.signer, other);
            }
            Bend::NotAsked => {
                let wider = if blocks.start > 0 { blocks.start - 1..blocks.end } else { 0..blocks.end + 1 };
                let wider = if *blocks == ALL { 5..6 } else { wider };
                return self.unasked(wider);
            }
            Bend::Backwards => {
                let mut first = answer(header.clone(), &bytes);
                first.truncate(first.len() - eddy_wire::frame::HEADER_LENGTH - 1);
                first.extend_from_slice(&answer(header, &bytes));
                return first;
            }
            Bend::ShorterData => bytes.truncate(random.random_range(0..bytes.len())),
            Bend::AnyByte => {
                let mut all = answer(header, &bytes);
                // Not the frame at the end: what comes after the last block is no content.
                let end = all.len() - eddy_wire::frame::HEADER_LENGTH - 1;
                flip(random, &mut all[..end]);
                return all;
            }
        }
        let mut all = answer(header, &bytes);
        if matches!(bend, Bend::ShorterData) {
            // Without the end frame, whose bytes would only be taken for content.
            all.truncate(all.len() - eddy_wire::frame::HEADER_LENGTH - 1);
        }
        all
    }

    fn replay(&self, other: &Truth<'_>, blocks: &Range<u32>) -> Vec<u8> {
        answer(other.header(&self.group, &self.signer, blocks.clone()), &other.bytes(blocks.clone()))
    }

    /// Blocks that nobody asked for, or that do not exist, in a well-formed frame.
    fn unasked(&self, blocks: Range<u32>) -> Vec<u8> {
        let count = (blocks.end - blocks.start) as usize;
        let statement = self.truth.endorsed(&self.group, &self.signer, 0..1);
        let header = RunHeader {
            hashes_from: 0,
            hashes: vec![BlockHash([1; 32]); blocks.start as usize + count],
            send: blocks,
            statements: vec![statement],
        };
        answer(header, &vec![0; count * BLOCK])
    }
}

pub(crate) fn attempts() -> usize {
    std::env::var("EDDY_PEER_LIES").ok().and_then(|count| count.parse().ok()).unwrap_or(10_000)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_lie_is_found_and_no_wrong_byte_is_kept() {
    let seed = std::env::var("EDDY_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(0xedd1);
    println!("seed {seed}, {} lies", attempts());
    let mut random = StdRng::seed_from_u64(seed);
    let (group, other_group) = (group(), crate::kit::group());
    let victim = Member::start(&group).await;
    let puppet = Puppet::start(&group);
    victim.peers.connect(puppet.address, Some(puppet.node())).await.expect("connects");
    let (read, content, others) = (entity("file", LENGTH), content(LENGTH, 1), crate::kit::content(LENGTH, 2));
    let other_entity = entity("other", LENGTH);
    let validator = eddy_content::Validator::StrongEtag("\"v0\"".into());
    let other_version = Entity { validator, ..read.clone() };
    let truth = |entity, content| Truth { group: group.id(), key: victim.peers.lookup_key(entity), entity, content };
    let scene = Scene {
        truth: truth(&read, &content),
        other_entity: truth(&other_entity, &others),
        other_version: truth(&other_version, &others),
        signer: identity(),
        other_signer: identity(),
        other_group,
        group: group.clone(),
    };
    let mut most_lost = 0;
    for attempt in 0..attempts() {
        let bend = BENDS[attempt % BENDS.len()];
        let start = random.random_range(ALL);
        let blocks = start..random.random_range(start + 1..=ALL.end);
        puppet.will_say(scene.bend(bend, &blocks, &mut random), Then::Finish).await;
        let before = wasted(&victim);
        let (_, outcome) = victim.fetch(puppet.node(), &read, blocks.clone()).await;
        let failure = outcome.expect_err(&format!("attempt {attempt}: {bend:?} of {blocks:?} went through"));
        assert!(is_right_verdict(bend, &failure), "attempt {attempt}: {bend:?} of {blocks:?} gave {failure:?}");
        let lost = wasted(&victim) - before;
        assert!(lost <= MOST_LOST, "attempt {attempt}: {bend:?} of {blocks:?} cost {lost} bytes");
        most_lost = most_lost.max(lost);
        if attempt % 100 == 99 {
            victim.assert_true(&read, &content);
        }
    }
    victim.assert_true(&read, &content);
    println!("the dearest lie cost {most_lost} bytes");

    // The same member telling the truth is believed.
    let honest = answer(scene.truth.header(&group, &scene.signer, ALL), &content);
    puppet.will_say(honest, Then::Finish).await;
    victim.fetch(puppet.node(), &read, ALL).await.1.expect("the truth passes");
    assert_eq!(victim.held_bytes(&read).len(), 5);
    victim.assert_true(&read, &content);
}

/// Bytes of peers that came for nothing, by the ledger.
fn wasted(member: &Member) -> u64 {
    let wasted = member.store.balance(crate::kit::ACCOUNT).expect("reads").peers.wasted;
    // Right blocks that are here already are asked for again by this test alone.
    wasted.corrupt + wasted.aborted
}

/// Whether the failure puts the blame where it belongs: a proof where there is one.
fn is_right_verdict(bend: Bend, failure: &Failure) -> bool {
    match failure {
        Failure::Write(WriteError::WrongBlock { .. }) => matches!(bend, Bend::Data | Bend::AnyByte),
        Failure::Read(ReadFailure::Lied(lie)) => match bend {
            Bend::Data | Bend::ShorterData => false,
            Bend::Backwards | Bend::NotAsked => matches!(lie, Lie::NotAsked { .. }),
            Bend::NoStatement | Bend::OtherRun => matches!(lie, Lie::Unsigned { .. }),
            Bend::Certificate | Bend::OtherGroupsMember | Bend::OtherMembersCertificate | Bend::Signer => {
                matches!(lie, Lie::Signer { .. })
            }
            Bend::AnyByte => true,
            _ => matches!(lie, Lie::Statement { .. }),
        },
        // A flipped length field makes the reader wait for bytes that never come.
        Failure::Read(ReadFailure::Gone(_)) => matches!(bend, Bend::ShorterData | Bend::AnyByte),
        _ => false,
    }
}
