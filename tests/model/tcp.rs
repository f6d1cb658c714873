//! The TCP state machine of the model: sequence numbers are whole numbers here and never wrap.

/// What one end did so far.
#[derive(Clone, Copy, Debug, Default)]
pub struct Half {
    pub sent: i64,
    pub acknowledged: i64,
    pub limit: i64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    Opening,
    Crossed,
    Answered,
    Established,
    Finished { near: bool, far: bool },
    Reset,
}

/// A segment: flags, and numbers that do not wrap.
#[derive(Clone, Copy, Debug)]
pub struct Segment {
    pub syn: bool,
    pub ack: bool,
    pub fin: bool,
    pub rst: bool,
    pub sequence: i64,
    pub acknowledgement: i64,
    pub data: i64,
}

impl Segment {
    pub fn end(&self) -> i64 {
        self.sequence + self.data + i64::from(self.syn) + i64::from(self.fin)
    }

    pub fn opens(&self) -> bool {
        self.syn && !self.ack
    }

    pub fn is_possible(&self) -> bool {
        match (self.syn, self.fin, self.rst) {
            (true, false, false) | (false, false, true) => true,
            (false, _, false) => self.ack,
            _ => false,
        }
    }
}

/// A connection; index 0 of the halves is the near end.
#[derive(Clone, Copy, Debug)]
pub struct Connection {
    pub stage: Stage,
    pub halves: [Half; 2],
    /// The last SYN on the open connection: who sent it, its number, and whether it carried data.
    pub offer: Option<(usize, i64, bool)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    Refresh,
    Nothing,
    Reopen,
    Turn,
    Renounce,
    Refuse,
}

/// All test segments advertise this window and scale it by nothing.
pub const WINDOW: i64 = 8192;
const SLACK: i64 = 65_536;

impl Connection {
    pub fn opened_by(end: usize, syn: &Segment) -> Connection {
        let mut halves = [Half::default(); 2];
        halves[end] = Half { sent: syn.end(), acknowledged: 0, limit: 0 };
        halves[1 - end].acknowledged = syn.sequence;
        Connection { stage: Stage::Opening, halves, offer: None }
    }

    pub fn is_assured(&self) -> bool {
        match self.stage {
            Stage::Established => true,
            Stage::Finished { near, far } => !(near && far),
            _ => false,
        }
    }

    fn fits(&self, from: usize, segment: &Segment) -> bool {
        let other = self.halves[1 - from];
        let sequence_fits = (other.acknowledged - SLACK..=other.limit).contains(&segment.sequence);
        sequence_fits && (!segment.ack || self.can_acknowledge(from, segment))
    }

    fn can_acknowledge(&self, from: usize, segment: &Segment) -> bool {
        let (own, other) = (self.halves[from], self.halves[1 - from]);
        (own.acknowledged - SLACK..=other.sent).contains(&segment.acknowledgement)
    }

    fn learn(&mut self, from: usize, segment: &Segment) {
        let own = &mut self.halves[from];
        own.sent = own.sent.max(segment.end());
        if segment.ack {
            own.acknowledged = own.acknowledged.max(segment.acknowledgement);
            own.limit = own.limit.max(segment.acknowledgement + WINDOW);
        }
    }

    fn is_closed_by(&self, from: usize, segment: &Segment) -> bool {
        let other = self.halves[1 - from];
        (other.acknowledged..=other.limit).contains(&segment.sequence)
    }

    fn go(&mut self, stage: Stage) -> Effect {
        self.stage = stage;
        Effect::Refresh
    }

    pub fn step(&mut self, opener: usize, from: usize, segment: &Segment) -> Effect {
        let from_opener = from == opener;
        match self.stage {
            Stage::Opening => self.opening(opener, from_opener, segment),
            Stage::Crossed | Stage::Answered => self.handshake(opener, from, segment),
            Stage::Finished { near: true, far: true } | Stage::Reset if segment.opens() => {
                if from_opener {
                    Effect::Reopen
                } else {
                    Effect::Turn
                }
            }
            Stage::Finished { near: true, far: true } => Effect::Nothing,
            Stage::Reset => {
                if segment.rst || segment.syn || !self.fits(from, segment) {
                    return Effect::Nothing;
                }
                self.learn(from, segment);
                self.go(Stage::Established)
            }
            Stage::Established | Stage::Finished { .. } => self.open(opener, from, segment),
        }
    }

    fn opening(&mut self, opener: usize, from_opener: bool, segment: &Segment) -> Effect {
        let (first, sent) = (self.halves[1 - opener].acknowledged, self.halves[opener].sent);
        // Its SYN may be taken with its data, with some of it, or without.
        let takes_syn = |number: i64| (first + 1..=sent).contains(&number);
        if from_opener {
            if segment.opens() {
                *self = Connection::opened_by(opener, segment);
                if segment.sequence == first {
                    self.halves[opener].sent = sent.max(segment.end());
                }
                return Effect::Refresh;
            }
            return match (segment.rst, takes_syn(segment.sequence)) {
                (true, true) => self.go(Stage::Reset),
                (true, false) => Effect::Nothing,
                (false, _) => Effect::Refuse,
            };
        }
        let acknowledges = segment.ack && takes_syn(segment.acknowledgement);
        if segment.rst {
            return if acknowledges { self.go(Stage::Reset) } else { Effect::Nothing };
        }
        if !segment.syn || (segment.ack && !acknowledges) {
            return Effect::Nothing;
        }
        self.halves[opener].acknowledged = segment.sequence;
        self.halves[opener].limit = segment.sequence + 1 + WINDOW;
        let answered = segment.ack;
        let acknowledged = if answered { segment.acknowledgement } else { first };
        let limit = if answered { acknowledged } else { first + 1 } + WINDOW;
        self.halves[1 - opener] = Half { sent: segment.end(), acknowledged, limit };
        self.go(if answered { Stage::Answered } else { Stage::Crossed })
    }

    pub fn remember(&mut self, from: usize, syn: &Segment) {
        // The connection's own SYN once more is none.
        if !(syn.sequence..=syn.end()).contains(&self.halves[1 - from].acknowledged) {
            self.offer = Some((from, syn.sequence, syn.data > 0));
        }
    }

    /// Of that SYN's number only the lower sixteen bits are known.
    fn answers_offer(&self, from: usize, segment: &Segment) -> bool {
        self.offer.is_some_and(|(asker, number, data)| {
            let beyond = (segment.acknowledgement - number - 1).rem_euclid(0x1_0000);
            segment.ack && asker != from && beyond <= if data { 1460 } else { 0 }
        })
    }

    fn syn_or_reset(&mut self, opener: usize, from: usize, segment: &Segment) -> Effect {
        if segment.rst {
            let ends = self.is_closed_by(from, segment) || self.answers_offer(from, segment);
            return if ends { self.go(Stage::Reset) } else { Effect::Nothing };
        }
        if segment.opens() {
            if from != opener {
                return Effect::Turn;
            }
            self.remember(from, segment);
        } else if self.answers_offer(from, segment) {
            if from == opener {
                return Effect::Renounce;
            }
            let (acknowledged, first) = (segment.acknowledgement, segment.sequence);
            self.offer = None;
            self.halves[opener] = Half { sent: acknowledged, acknowledged: first, limit: first + 1 + 65_535 };
            self.halves[from] = Half { sent: segment.end(), acknowledged, limit: acknowledged + WINDOW };
            return self.go(Stage::Answered);
        }
        Effect::Nothing
    }

    fn handshake(&mut self, opener: usize, from: usize, segment: &Segment) -> Effect {
        let is_answer = segment.syn && self.answers_offer(from, segment);
        let opens = segment.opens() && (from == opener || self.stage == Stage::Answered);
        if segment.rst || opens || is_answer {
            return self.syn_or_reset(opener, from, segment);
        }
        let answered = self.stage == Stage::Answered;
        // Of two answers to its SYN the opener may take either.
        if answered && from != opener && segment.syn && self.can_acknowledge(from, segment) {
            self.remember(from, segment);
        }
        let other = answered && from == opener && self.answers_offer(from, segment);
        if other && !self.fits(from, segment) {
            let (first, taken) = (segment.acknowledgement - 1, self.halves[1 - from].acknowledged);
            self.halves[1 - from] = Half { sent: first + 1, acknowledged: taken, limit: taken + 65_535 };
            self.halves[from] = Half { acknowledged: first, limit: first, ..self.halves[from] };
            self.offer = None;
        }
        if !self.fits(from, segment) {
            return Effect::Nothing;
        }
        let takes_first = segment.ack && segment.acknowledgement > self.halves[from].acknowledged;
        self.learn(from, segment);
        let complete = match self.stage {
            Stage::Answered => from == opener && segment.ack,
            _ if from == opener || !takes_first => false,
            _ if self.halves[opener].acknowledged == self.halves[from].sent => true,
            _ => return self.go(Stage::Answered),
        };
        if !complete {
            return Effect::Refresh;
        }
        self.stage = Stage::Established;
        if segment.syn { Effect::Refresh } else { self.open(opener, from, segment) }
    }

    fn open(&mut self, opener: usize, from: usize, segment: &Segment) -> Effect {
        if segment.rst || segment.syn {
            return self.syn_or_reset(opener, from, segment);
        }
        if self.fits(from, segment) {
            self.learn(from, segment);
            if segment.fin {
                let (near, far) = match self.stage {
                    Stage::Finished { near, far } => (near, far),
                    _ => (false, false),
                };
                self.stage = Stage::Finished { near: near || from == 0, far: far || from == 1 };
            }
        }
        Effect::Refresh
    }
}
