//! Whatever comes in whatever order, who is there has its part, nobody has too much, and all together have what there is.

use super::*;
use proptest::prelude::*;

const BYTES: usize = 512 * 40;
const PART: usize = BYTES / 4 / PARTS;
const SHARED: usize = BYTES / 4 * 3;

fn owner(number: u16) -> Ipv4Addr {
    Ipv4Addr::from_bits(u32::from(number))
}

/// Takes as much as it may of `bytes`, and forgets whoever has to go for that.
fn take(shares: &mut MemoryShares, number: u16, bytes: usize) -> usize {
    shares.hear_of(owner(number));
    let held = shares.most(owner(number)).min(bytes);
    shares.hold(owner(number), held);
    forget(shares);
    held
}

fn forget(shares: &mut MemoryShares) -> Vec<Ipv4Addr> {
    let mut gone = Vec::new();
    while let Some(next) = shares.next_to_forget() {
        shares.leave(next);
        gone.push(next);
    }
    gone
}

fn those_there(numbers: impl IntoIterator<Item = u16>) -> Option<Vec<Ipv4Addr>> {
    Some(numbers.into_iter().map(owner).collect())
}

fn held(shares: &MemoryShares, number: u16) -> usize {
    shares.find(owner(number)).ok().and_then(|at| shares.at(at)).map_or(0, |it| it.bytes)
}

#[derive(Clone, Debug)]
enum Step {
    Take(u16, usize),
    Leave(u16),
    Present(Vec<u16>),
    Unknown,
}

fn step() -> impl Strategy<Value = Step> {
    let bytes = prop_oneof![0..PART * 2, 0..BYTES, Just(PART)];
    prop_oneof![
        8 => (0..200u16, bytes).prop_map(|(number, bytes)| Step::Take(number, bytes)),
        1 => (0..200u16).prop_map(Step::Leave),
        1 => prop::collection::vec(0..200u16, 0..PARTS).prop_map(Step::Present),
        1 => Just(Step::Unknown),
    ]
}

proptest! {
    #[test]
    fn who_is_there_has_its_part_in_any_order_of_events(steps in prop::collection::vec(step(), 0..400)) {
        let mut shares = MemoryShares::new(BYTES);
        for step in steps {
            let before = shares.holdings.clone();
            let mut subject = None;
            match step {
                Step::Take(number, bytes) => {
                    subject = Some(owner(number));
                    let taken = take(&mut shares, number, bytes);
                    prop_assert_eq!(held(&shares, number), taken, "who takes is not forgotten for it");
                    if shares.is_present(owner(number)) {
                        prop_assert!(taken >= bytes.min(PART));
                    }
                }
                Step::Leave(number) => {
                    subject = Some(owner(number));
                    shares.leave(owner(number));
                }
                Step::Present(numbers) => shares.set_present(those_there(numbers)),
                Step::Unknown => shares.set_present(None),
            }
            forget(&mut shares);
            let all = shares.holdings.iter();
            prop_assert!(all.clone().map(|it| it.bytes).sum::<usize>() <= BYTES);
            prop_assert!(all.clone().all(|it| it.bytes <= PART + SHARED / 2));
            prop_assert!(all.clone().filter(|it| it.member == Membership::Member).count() <= PARTS);
            if shares.present.is_none() {
                continue;
            }
            for it in shares.holdings.iter().filter(|it| shares.is_present(it.owner)) {
                prop_assert!(shares.most(it.owner) >= PART);
            }
            // Of those who are there nobody was forgotten.
            for it in before.iter().filter(|it| shares.is_present(it.owner) && subject != Some(it.owner)) {
                prop_assert_eq!(shares.find(it.owner).ok().and_then(|at| shares.at(at)).map(|it| it.bytes), Some(it.bytes));
            }
        }
    }
}

#[test]
fn one_that_is_there_takes_half_of_what_is_shared_beyond_its_part() {
    let mut shares = MemoryShares::new(BYTES);
    shares.set_present(those_there([1, 2]));
    assert_eq!(take(&mut shares, 1, BYTES), PART + SHARED / 2);
    assert_eq!(take(&mut shares, 2, BYTES), PART + SHARED / 2);
    assert_eq!(take(&mut shares, 3, BYTES), 0);
}

#[test]
fn those_that_left_are_forgotten_the_longest_silent_first_and_for_nobody_that_left() {
    let mut shares = MemoryShares::new(BYTES);
    let third = SHARED / 3;
    shares.set_present(those_there(1..=4));
    (1..=3).for_each(|number| assert_eq!(take(&mut shares, number, third), third));
    shares.set_present(those_there([4, 5]));
    assert!(forget(&mut shares).is_empty(), "there is room for all of them");
    take(&mut shares, 1, third);
    assert_eq!(take(&mut shares, 6, third), 0, "it is not there");
    shares.hear_of(owner(4));
    shares.hold(owner(4), PART + 1);
    assert_eq!(forget(&mut shares), [owner(2)]);
    shares.hold(owner(4), PART + SHARED / 2);
    assert_eq!(forget(&mut shares), [owner(3)]);
    assert_eq!(held(&shares, 1), third);
}

#[test]
fn who_leaves_gives_its_part_to_who_comes() {
    let mut shares = MemoryShares::new(BYTES);
    let parts = PARTS as u16;
    shares.set_present(those_there(0..parts));
    (0..parts).for_each(|number| assert_eq!(take(&mut shares, number, PART), PART));
    assert_eq!(take(&mut shares, 0, BYTES) + take(&mut shares, 1, BYTES), 2 * PART + SHARED);
    // None of those came back, and as many others are there.
    shares.set_present(those_there(parts..2 * parts));
    forget(&mut shares);
    for number in parts..2 * parts {
        assert_eq!(take(&mut shares, number, PART), PART);
    }
    assert!((parts..2 * parts).all(|number| held(&shares, number) == PART));
}

#[test]
fn with_more_there_than_there_are_parts_those_have_one_that_were_heard_of_last() {
    let mut shares = MemoryShares::new(BYTES);
    let parts = PARTS as u16;
    shares.set_present(those_there(0..=parts));
    (0..parts).for_each(|number| assert_eq!(take(&mut shares, number, PART), PART));
    assert_eq!(take(&mut shares, 1, BYTES) + take(&mut shares, 2, BYTES), 2 * PART + SHARED);
    assert_eq!(take(&mut shares, parts, PART), PART);
    assert_eq!((held(&shares, 0), held(&shares, 3)), (0, PART));
}
