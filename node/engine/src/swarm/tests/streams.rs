//! Origins without ranges, whether they say so or not: one stream for all.

use super::*;

#[test]
fn a_stream_has_one_reader_in_order_and_never_a_second() {
    // Trap 13.
    let stream = Content { reading: Reading::Stream, ..content(8) };
    let mut node = Swarm::new(peer(0), LINE, Weight::STEADY, 1);
    node.start(Duration::ZERO, ORIGIN, stream, Bits::none(8), Some((Order::Rarest, Patience::Foreground)));
    let begun = reads(&effects(&mut node));
    assert_eq!(begun.iter().map(|(_, segments)| segments.clone()).collect::<Vec<_>>(), vec![0..8]);
    assert!(reads(&pass(&mut node, ms(3000))).is_empty());
}

/// A node alone that wants a content of which nobody has said whether its origin serves ranges.
pub(super) fn unsaid(reading: Reading) -> Swarm {
    let mut node = Swarm::new(peer(0), LINE, Weight::STEADY, 1);
    let unsaid = Content { reading, ..content(8) };
    node.start(Duration::ZERO, ORIGIN, unsaid, Bits::none(8), Some((Order::Rarest, Patience::Foreground)));
    node
}

#[test]
fn who_reads_first_finds_out_whether_there_are_ranges_and_until_then_nobody_else_reads() {
    let mut node = unsaid(Reading::Unknown);
    let tag = content(8).tag();
    let begun = reads(&effects(&mut node));
    assert_eq!(begun.iter().map(|(_, segments)| segments.clone()).collect::<Vec<_>>(), vec![0..1]);
    assert!(reads(&pass(&mut node, ms(2000))).is_empty());
    node.handle_reading(ms(2001), tag, begun[0].0, Reading::Ranges);
    let begun = reads(&effects(&mut node));
    assert_eq!(begun.iter().map(|(_, segments)| segments.start).collect::<Vec<_>>(), vec![1, 2, 3]);
}

#[test]
fn a_reader_who_finds_a_stream_reads_it_to_the_end_under_the_same_lease() {
    let mut home = unsaid(Reading::Unknown);
    let (tag, child) = (content(8).tag(), peer(7));
    let lease = reads(&effects(&mut home))[0].0;
    home.handle_peer_up(ms(1), child, Weight::STEADY);
    let Say::Join(join) = join(&[], 8, vec![]) else { unreachable!() };
    let unsaid = Content { reading: Reading::Unknown, ..content(8) };
    let mut done = say(&mut home, ms(1), child, Say::Join(Box::new(Join { content: unsaid, ..*join })));
    home.handle_reading(ms(2), tag, lease, Reading::Stream);
    for segment in 0..8 {
        for block in 1..=16 {
            let now = ms(10 + 20 * u64::from(segment * 16 + block));
            home.handle_blocks(now, tag, segment, block);
            done.extend(pass(&mut home, now));
        }
    }
    assert!(reads(&done).is_empty(), "nobody begins a second stream: {:?}", reads(&done));
    let of_member = |item| match item {
        Item::From { segment, .. } => segment..segment + 1,
        Item::Held { segments, .. } => segments,
        Item::Lease { .. } => 0..0,
    };
    let mut sources: Vec<u32> = items(&said(&done), child).into_iter().flat_map(of_member).collect();
    sources.sort_unstable();
    assert_eq!(sources, (0..8).collect::<Vec<_>>(), "the child takes all of it from the reader");
    assert_eq!(home.glance(tag).map(|glance| (glance.have, glance.reads.len())), Some((8, 0)));
}

#[test]
fn ranges_that_were_announced_and_are_not_served_end_in_one_stream() {
    let mut node = unsaid(Reading::Ranges);
    let begun = reads(&effects(&mut node));
    assert_eq!(begun.len(), LEASES as usize);
    let tag = content(8).tag();
    node.handle_read_fault(ms(40), tag, begun[1].0, ReadFault::NoRanges);
    let stream = reads(&pass(&mut node, ms(40)));
    assert_eq!(stream.iter().map(|(_, segments)| segments.clone()).collect::<Vec<_>>(), vec![0..8]);
    // The others find out as well; nothing begins anew because of them.
    for (lease, _) in [&begun[2], &begun[3]] {
        node.handle_read_fault(ms(41), tag, *lease, ReadFault::NoRanges);
    }
    assert!(reads(&pass(&mut node, ms(3000))).is_empty());
}
