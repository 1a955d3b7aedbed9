//! Canonical Huffman codes, from their lengths (RFC 1951, section 3.2.2).

use super::Stop;
use super::bits::BitReader;

/// Longest code.
const CODE_BITS_MAX: usize = 15;

/// The codes of these lengths, the first bit lowest; wrong if there are more than fit.
pub(super) fn codes(lengths: &[u8]) -> Result<Vec<u16>, Stop> {
    let mut counts = [0_u32; CODE_BITS_MAX + 1];
    for length in lengths {
        counts[usize::from(*length)] += 1;
    }
    counts[0] = 0;
    let mut next = [0_u32; CODE_BITS_MAX + 1];
    let mut code = 0;
    for bits in 1..=CODE_BITS_MAX {
        code = (code + counts[bits - 1]) << 1;
        next[bits] = code;
        if code + counts[bits] > 1 << bits {
            return Err(Stop::Wrong);
        }
    }
    let mut codes = vec![0; lengths.len()];
    for (code, length) in codes.iter_mut().zip(lengths).filter(|(_, length)| **length > 0) {
        let next = &mut next[usize::from(*length)];
        *code = (*next as u16).reverse_bits() >> (16 - length);
        *next += 1;
    }
    Ok(codes)
}

/// Bits that are looked up at once; longer codes take a second look. Few, since these tables are made for every block and
/// asked for what no faster way was found for.
const FIRST_BITS: usize = 8;
const FIRST: usize = 1 << FIRST_BITS;

/// What a code stands for, in a word that one load brings: in its lowest byte the number of bits of the code, in the next
/// the number of bits behind it that are added to a base (and [`Meaning::OTHER`]), above them the base or the symbol.
#[derive(Clone, Copy)]
pub(super) struct Meaning(u32);

impl Meaning {
    /// Set for what is no base with bits to add to it.
    const OTHER: u32 = 0x8000;
    /// No code.
    const NONE: Meaning = Meaning(Self::OTHER);

    /// A base, to which so many bits are added.
    pub(super) fn base((base, bits): (u16, u8)) -> Self {
        Meaning(u32::from(base) << 16 | u32::from(bits) << 8)
    }

    /// A symbol for itself.
    pub(super) fn symbol(symbol: usize) -> Self {
        Meaning((symbol as u32) << 16 | Self::OTHER)
    }

    pub(super) fn is_base(self) -> bool {
        self.0 & Self::OTHER == 0
    }

    /// The symbol or the base.
    fn value(self) -> u16 {
        (self.0 >> 16) as u16
    }

    /// How many bits are added to the base.
    pub(super) fn bits(self) -> u32 {
        self.0 >> 8 & 0x7f
    }

    /// Bits of the code; none if there is no such code.
    fn length(self) -> u32 {
        self.0 & 0xff
    }

    /// Takes the code that means a symbol.
    pub(super) fn take_symbol(self, bits: &mut BitReader<'_>) -> Result<u16, Stop> {
        bits.held_bits(self.length())?;
        match self.length() {
            0 => Err(Stop::Wrong),
            _ => Ok(self.value()),
        }
    }

    /// Takes the code and the bits behind it, and adds them to the base.
    pub(super) fn take_value(self, bits: &mut BitReader<'_>) -> Result<u16, Stop> {
        bits.held_bits(self.length())?;
        Ok(self.value() + bits.held_bits(self.bits())? as u16)
    }
}

/// A code, from bits to what they mean.
pub(super) struct Decoder {
    /// By the next bits; where the code is longer, as many bits more as are to be looked up, and where.
    first: [Meaning; FIRST],
    second: Vec<Meaning>,
}

impl Decoder {
    /// For these codes of these lengths, in which each symbol means something, or is not to be.
    pub(super) fn of(lengths: &[u8], codes: &[u16], meaning: impl Fn(usize) -> Option<Meaning>) -> Self {
        let coded = |least: usize| {
            let all = codes.iter().zip(lengths).enumerate();
            all.filter_map(move |(symbol, (code, length))| {
                (usize::from(*length) >= least).then_some((symbol, usize::from(*code), usize::from(*length)))
            })
        };
        let mut first = [Meaning::NONE; FIRST];
        // How many bits come after the first ones, at most.
        for (_, code, length) in coded(FIRST_BITS + 1) {
            let entry = &mut first[code % FIRST];
            let more = entry.bits().max((length - FIRST_BITS) as u32);
            *entry = Meaning(more << 8 | Meaning::OTHER);
        }
        let mut second = Vec::new();
        for entry in first.iter_mut().filter(|entry| entry.bits() > 0) {
            let (begin, more) = (second.len(), entry.bits());
            second.resize(begin + (1 << more), Meaning::NONE);
            entry.0 |= (begin as u32) << 16;
        }
        for (symbol, code, length) in coded(1) {
            let Some(Meaning(meaning)) = meaning(symbol) else {
                continue;
            };
            let meaning = Meaning(meaning | length as u32);
            if length <= FIRST_BITS {
                first[code..]
                    .iter_mut()
                    .step_by(1 << length)
                    .for_each(|entry| *entry = meaning);
            } else {
                let (begin, more) = (first[code % FIRST].value(), first[code % FIRST].bits());
                let own = &mut second[begin.into()..][..1 << more];
                let all = own[code >> FIRST_BITS..]
                    .iter_mut()
                    .step_by(1 << (length - FIRST_BITS));
                all.for_each(|entry| *entry = meaning);
            }
        }
        Decoder { first, second }
    }

    /// What the next bits mean, which have to be held; they stay.
    pub(super) fn look(&self, bits: &BitReader<'_>) -> Meaning {
        let found = self.first[bits.held() as usize % FIRST];
        if found.length() == 0 && found.bits() > 0 {
            let more = (bits.held() >> FIRST_BITS) as usize & ((1 << found.bits()) - 1);
            return self.second[usize::from(found.value()) + more];
        }
        found
    }
}
