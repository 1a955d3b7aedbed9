//! The head of a delta: which files, how archives among them are unpacked, which programs, what the new bytes are.

use crate::addresses::{Kind, Program, Region, Span};
use crate::lzma2::{CONTENT_MAX, DICTIONARY_BITS_MAX};
use crate::varint::{self, Reader};
use crate::{BYTES_MAX, FILES_MAX, Malformed};

/// First bytes of a delta.
pub(crate) const MAGIC: &[u8; 4] = b"TGD6";
/// Most compressed streams of all archives.
pub(crate) const STREAMS_MAX: u64 = 1_000_000;
/// Most programs.
pub(crate) const PROGRAMS_MAX: u64 = 65_536;
const SPANS_MAX: u64 = 256;
/// Most regions of a program, and of the new bytes.
pub(crate) const REGIONS_MAX: u64 = 65_536;
/// Most bytes of the regions of all programs: more than one may have come of each old one.
pub(crate) const REGIONS_BYTES_MAX: u64 = 4 * BYTES_MAX;

/// How a stream is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Coding {
    /// RFC 1951.
    Deflate,
    /// The .xz File Format 1.2.1, section 5.3.1.
    Lzma2 {
        /// Size of its dictionary, as the format writes it.
        dictionary: u8,
    },
}

/// What stands for a part of a deflate stream that ends within a byte, with the number of its bits added.
const WITHIN_BYTE: u64 = 64;

/// A compressed stream inside a file, or some blocks of one that is unpacked to its tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stream {
    /// How it is compressed.
    pub coding: Coding,
    /// Bytes between the stream before, or the begin of the file, and this one.
    pub gap: u64,
    /// Bits of its first byte that belong to the stream before, of which it is the continuation then; else 0.
    pub begin: u32,
    /// Compressed length in bits.
    pub bits: u64,
    /// Unpacked length.
    pub plain: u64,
    /// Bytes of what it takes to compress its content the same way again; 0 if it is unpacked to its tokens.
    pub recipe: u64,
    /// Whether anything is taken out of it: an old one that is not used need not be unpacked. A new one always is.
    pub is_used: bool,
}

impl Stream {
    /// Bytes that are wholly or partly of it.
    pub(crate) fn packed(&self) -> u64 {
        (u64::from(self.begin) + self.bits).div_ceil(8)
    }

    /// Bits of its last byte that are of it, or of what is before it, if the next stream goes on in that byte; else 0.
    pub(crate) fn end(&self) -> u32 {
        ((u64::from(self.begin) + self.bits) % 8) as u32
    }

    /// Bytes by which it takes its file further: one that the next stream goes on in counts there.
    pub(crate) fn whole_bytes(&self) -> u64 {
        (u64::from(self.begin) + self.bits) / 8
    }

    fn coding_number(&self) -> u64 {
        match self.coding {
            Coding::Deflate if self.end() > 0 => WITHIN_BYTE + u64::from(self.end()),
            Coding::Deflate => 0,
            Coding::Lzma2 { dictionary } => u64::from(dictionary) + 1,
        }
    }

    /// How it is compressed, and behind how many bits of its last byte it ends.
    fn coding_of(number: u64) -> Result<(Coding, u64), Malformed> {
        const UNKNOWN: Malformed = Malformed("a stream is compressed in an unknown way");
        let (dictionary, last_bits) = (number.wrapping_sub(1), number.wrapping_sub(WITHIN_BYTE));
        match number {
            0 => Ok((Coding::Deflate, 0)),
            _ if (1..8).contains(&last_bits) => Ok((Coding::Deflate, last_bits)),
            _ if dictionary <= u64::from(DICTIONARY_BITS_MAX) => Ok((
                Coding::Lzma2 {
                    dictionary: dictionary as u8,
                },
                0,
            )),
            _ => Err(UNKNOWN),
        }
    }
}

/// A file, as it is and as it is worked on.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Layout {
    /// Length of the file.
    pub length: u64,
    /// Its compressed streams, in order.
    pub streams: Vec<Stream>,
}

impl Layout {
    /// Length with every stream unpacked.
    pub(crate) fn unpacked(&self) -> u64 {
        self.streams.iter().fold(self.length, |sum, stream| {
            sum - stream.whole_bytes() + stream.plain
        })
    }

    /// Tells where bytes of the file, which are in no stream, lie with every stream unpacked; asked from front to back.
    pub(crate) fn unpacked_places(&self) -> impl FnMut(u64) -> u64 {
        let mut streams = self.streams.iter().peekable();
        let (mut end, mut packed, mut plain) = (0, 0, 0);
        move |offset| {
            while let Some(stream) =
                streams.next_if(|stream| end + stream.gap + stream.whole_bytes() <= offset)
            {
                end += stream.gap + stream.whole_bytes();
                packed += stream.whole_bytes();
                plain += stream.plain;
            }
            offset - packed + plain
        }
    }
}

/// The head.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Head {
    pub old: Vec<Layout>,
    pub new: Vec<Layout>,
    pub programs: Vec<Program>,
    /// Fields of the new bytes: which stream their literals are in.
    pub regions: Vec<Region>,
}

impl Head {
    pub(crate) fn write(&self) -> Vec<u8> {
        let mut out = Vec::new();
        for (files, is_new) in [(&self.old, false), (&self.new, true)] {
            varint::put(&mut out, files.len() as u64);
            for file in files {
                varint::put(&mut out, file.length);
                varint::put(&mut out, file.streams.len() as u64);
                for stream in &file.streams {
                    varint::put(&mut out, stream.coding_number());
                    varint::put(&mut out, stream.gap);
                    varint::put(&mut out, stream.whole_bytes());
                    varint::put(&mut out, stream.plain);
                    match is_new {
                        true => varint::put(&mut out, stream.recipe),
                        false => varint::put(&mut out, stream.is_used.into()),
                    }
                }
            }
        }
        varint::put(&mut out, self.programs.len() as u64);
        for program in &self.programs {
            write_program(&mut out, program);
        }
        write_regions(&mut out, &self.regions);
        out
    }

    pub(crate) fn read(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut from = Reader(bytes);
        let mut streams_left = STREAMS_MAX;
        let old = read_files(&mut from, false, &mut streams_left)?;
        let new = read_files(&mut from, true, &mut streams_left)?;
        let count = from.number_to(PROGRAMS_MAX, "it has too many programs")?;
        let mut programs = Vec::new();
        for _ in 0..count {
            programs.push(read_program(&mut from)?);
        }
        let regions = read_regions(&mut from)?;
        match from.is_empty() {
            true => Ok(Head {
                old,
                new,
                programs,
                regions,
            }),
            false => Err(Malformed("its head is longer than it says")),
        }
    }
}

fn read_files(from: &mut Reader<'_>, is_new: bool, streams_left: &mut u64) -> Result<Vec<Layout>, Malformed> {
    const LONG: &str = "its files are larger than they may be";
    let count = from.number_to(FILES_MAX as u64, "it has too many files")?;
    let (mut files, mut total, mut lzma2_left) = (Vec::new(), 0_u64, CONTENT_MAX);
    for _ in 0..count {
        let length = from.number_to(BYTES_MAX, LONG)?;
        let streams = from.number_to(*streams_left, "it has too many streams")?;
        *streams_left -= streams;
        let mut layout = Layout {
            length,
            streams: Vec::new(),
        };
        let (mut end, mut begin) = (0_u64, 0);
        for _ in 0..streams {
            let (coding, last_bits) = Stream::coding_of(from.number()?)?;
            let gap = from.number_to(length, LONG)?;
            let whole_bytes = from.number_to(length.min(crate::archive::PACKED_MAX), LONG)?;
            let plain = from.number_to(crate::archive::PLAIN_MAX, LONG)?;
            let (recipe, is_used) = match is_new {
                true => (from.number_to(BYTES_MAX, LONG)?, true),
                false => (0, from.number_to(1, "a stream is neither used nor unused")? == 1),
            };
            let bits = (8 * whole_bytes + last_bits).saturating_sub(begin.into());
            if plain == 0 || bits == 0 {
                // Nothing would tell when it has to be packed, and no compressor writes nothing.
                return Err(Malformed("a stream is empty"));
            }
            let is_part = begin > 0 || last_bits > 0;
            if is_part && (coding != Coding::Deflate || recipe > 0) || begin > 0 && gap > 0 {
                return Err(Malformed("a stream begins or ends within a byte"));
            }
            if coding != Coding::Deflate {
                let left = lzma2_left.checked_sub(plain);
                lzma2_left = left.ok_or(Malformed("it would take too long to pack its archives again"))?;
            }
            end += gap + whole_bytes;
            if end > length {
                return Err(Malformed("a stream lies outside its file"));
            }
            let stream = Stream {
                coding,
                gap,
                begin,
                bits,
                plain,
                recipe,
                is_used,
            };
            begin = stream.end();
            layout.streams.push(stream);
        }
        if begin > 0 {
            return Err(Malformed("a stream begins or ends within a byte"));
        }
        total = total.saturating_add(layout.unpacked());
        if total > BYTES_MAX {
            return Err(Malformed(LONG));
        }
        files.push(layout);
    }
    Ok(files)
}

fn write_program(out: &mut Vec<u8>, program: &Program) {
    for spans in [&program.old, &program.new] {
        varint::put(out, spans.len() as u64);
        for span in spans {
            write_span(out, span);
        }
    }
    varint::put(out, u64::from(program.blank.is_some()));
    if let Some((span, address)) = &program.blank {
        write_span(out, span);
        varint::put(out, *address);
    }
    write_regions(out, &program.regions);
}

fn write_regions(out: &mut Vec<u8>, regions: &[Region]) {
    varint::put(out, regions.len() as u64);
    let mut end = 0;
    for region in regions {
        varint::put(out, region.offset - end);
        varint::put(out, region.length);
        varint::put(out, region.kind as u64);
        end = region.offset + region.length;
    }
}

fn write_span(out: &mut Vec<u8>, span: &Span) {
    varint::put(out, span.offset);
    varint::put(out, span.length);
    varint::put(out, span.address);
}

fn read_program(from: &mut Reader<'_>) -> Result<Program, Malformed> {
    const OUTSIDE: &str = "a program lies outside the files";
    let span = |from: &mut Reader<'_>| -> Result<Span, Malformed> {
        Ok(Span {
            offset: from.number_to(BYTES_MAX, OUTSIDE)?,
            length: from.number_to(u64::from(u32::MAX), OUTSIDE)?,
            address: from.number()?,
        })
    };
    let mut spans = [Vec::new(), Vec::new()];
    for spans in &mut spans {
        for _ in 0..from.number_to(SPANS_MAX, "a program has too many parts")? {
            spans.push(span(from)?);
        }
    }
    let blank = match from.number_to(1, "a program is unclear")? {
        0 => None,
        _ => Some((span(from)?, from.number()?)),
    };
    let regions = read_regions(from)?;
    let [old, new] = spans;
    Ok(Program {
        old,
        new,
        blank,
        regions,
    })
}

/// Regions by offset, apart from each other.
fn read_regions(from: &mut Reader<'_>) -> Result<Vec<Region>, Malformed> {
    const OUTSIDE: &str = "a program lies outside the files";
    let mut regions = Vec::new();
    let mut end = 0;
    for _ in 0..from.number_to(REGIONS_MAX, "a program has too many parts")? {
        let offset = end + from.number_to(BYTES_MAX, OUTSIDE)?;
        let length = from.number_to(BYTES_MAX, OUTSIDE)?;
        let number = usize::try_from(from.number()?).unwrap_or(usize::MAX);
        let kind = *Kind::ALL
            .get(number)
            .ok_or(Malformed("a program has parts of an unknown kind"))?;
        end = offset + length;
        if end > BYTES_MAX {
            return Err(Malformed(OUTSIDE));
        }
        regions.push(Region { offset, length, kind });
    }
    Ok(regions)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(begin: u32, bits: u64) -> Stream {
        Stream {
            coding: Coding::Deflate,
            gap: 0,
            begin,
            bits,
            plain: 100,
            recipe: 0,
            is_used: true,
        }
    }

    fn head(streams: Vec<Stream>) -> Head {
        Head {
            new: vec![Layout { length: 60, streams }],
            ..Head::default()
        }
    }

    fn read(streams: Vec<Stream>) -> Result<Head, Malformed> {
        Head::read(&head(streams).write())
    }

    #[test]
    fn parts_of_a_stream_follow_each_other_within_a_byte() {
        let first = Stream {
            gap: 7,
            ..part(0, 83)
        };
        let streams = vec![
            first,
            part(3, 4),
            part(7, 9),
            part(0, 64),
            part(0, 5),
            part(5, 27),
        ];
        let head = head(streams.clone());
        assert_eq!(head.new[0].unpacked(), 60 - 24 + 600);
        assert_eq!(read(streams), Ok(head));
    }

    #[test]
    fn an_old_stream_is_used_or_not() {
        let unused = Stream {
            is_used: false,
            ..part(0, 80)
        };
        let old = Layout {
            length: 60,
            streams: vec![unused, part(0, 80)],
        };
        let head = Head {
            old: vec![old],
            ..Head::default()
        };
        let mut bytes = head.write();
        assert_eq!(Head::read(&bytes), Ok(head));
        // One file of 60 bytes with two streams: coding, gap, bytes, unpacked bytes, whether it is used.
        assert_eq!(bytes[..13], [1, 60, 2, 0, 0, 10, 100, 0, 0, 0, 10, 100, 1]);
        bytes[7] = 2;
        let neither = Malformed("a stream is neither used nor unused");
        assert_eq!(Head::read(&bytes), Err(neither));
    }

    #[test]
    fn no_part_begins_or_ends_where_none_can() {
        let within = Err(Malformed("a stream begins or ends within a byte"));
        assert_eq!(read(vec![part(0, 83)]), within, "the file ends within it");
        let apart = Stream { gap: 1, ..part(3, 5) };
        assert_eq!(read(vec![part(0, 83), apart]), within);
        for (coding, recipe) in [(Coding::Deflate, 1), (Coding::Lzma2 { dictionary: 8 }, 0)] {
            let other = |begin, bits| Stream {
                coding,
                recipe,
                ..part(begin, bits)
            };
            assert_eq!(read(vec![part(0, 83), other(3, 5)]), within);
            assert!(read(vec![other(0, 80)]).is_ok());
        }
        let with_recipe = Stream {
            recipe: 1,
            ..part(0, 83)
        };
        assert_eq!(read(vec![with_recipe, part(3, 5)]), within);
        // A byte further would be outside.
        assert!(read(vec![part(0, 477), part(5, 3)]).is_ok());
        assert!(read(vec![part(0, 477), part(5, 11)]).is_err());
        assert_eq!(read(vec![part(0, 0)]), Err(Malformed("a stream is empty")));
        assert_eq!(
            read(vec![part(0, 3), part(3, 0)]),
            Err(Malformed("a stream is empty"))
        );
    }
}
