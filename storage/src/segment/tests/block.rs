use super::{
    image::{Image, file_of, latched},
    *,
};
use crate::segment::{
    Block, BlockError, FrameFault, MAX_BODY, next_good, read_block as read_segment_block,
};

fn read_block(image: &Image, nth: usize, want: usize) -> Result<Block, FrameFault> {
    let (pos, offset) = (image.starts[nth] as u64, image.frames[nth].base);
    let end = image.data_end() as u64;
    let read = read_segment_block(&latched(&image.bytes), SALT, pos, end, offset, want);
    read.map_err(|error| match error {
        BlockError::Bad {
            pos: at,
            offset: of,
            fault,
        } => {
            assert_eq!((at, of), (pos, offset));
            fault
        }
        BlockError::Disk(error) => panic!("{error}"),
    })
}

fn shape(block: &Block) -> (u64, u64, usize) {
    (block.first.0, block.end.0, block.frames().count())
}

#[test]
fn a_block_holds_whole_frames_and_at_least_one() {
    let image = Image::counted(5, &[1, 2, 3]);
    for want in [0, 1, 60, image.frames[0].bytes.len()] {
        assert_eq!(
            shape(&read_block(&image, 0, want).unwrap()),
            (5, 6, 1),
            "{want}"
        );
    }
    let two = image.starts[2] - image.starts[0];
    assert_eq!(shape(&read_block(&image, 0, two).unwrap()), (5, 8, 2));
    let all = read_block(&image, 0, 1 << 20).unwrap();
    assert_eq!(shape(&all), (5, 11, 3));
    assert_eq!((all.pos, all.next_pos), (128, image.bytes.len() as u64));
    assert_eq!(all.bytes, image.bytes[128..]);
    let frames: Vec<_> = all
        .frames()
        .map(|(head, bytes)| (head.base, bytes))
        .collect();
    let want: Vec<_> = image
        .frames
        .iter()
        .map(|frame| (frame.base, frame.bytes.clone()))
        .collect();
    assert_eq!(frames, want);
}

#[test]
fn a_frame_longer_than_wanted_is_read_whole() {
    let mut image = Image::new(0);
    image.payload(vec![1; 300_000]).payload("small");
    let block = read_block(&image, 0, 4096).unwrap();
    assert_eq!(shape(&block), (0, 1, 1));
    assert_eq!(block.bytes, image.frames[0].bytes);
}

#[test]
fn a_bad_frame_ends_the_block_before_it_and_is_the_error_where_it_is_the_first() {
    let mut image = Image::counted(0, &[1, 1, 1]);
    image.damage(1, 50);
    assert_eq!(shape(&read_block(&image, 0, 4096).unwrap()), (0, 1, 1));
    assert_eq!(read_block(&image, 1, 4096), Err(FrameFault::Crc));
    image.damage(2, 0);
    assert_eq!(read_block(&image, 2, 4096), Err(FrameFault::Marker));
}

#[test]
fn nothing_at_or_behind_the_end_is_read() {
    let image = Image::counted(0, &[1, 1]);
    let file = latched(&image.bytes);
    let end = image.starts[1] as u64;
    let block = read_segment_block(&file, SALT, 128, end, Offset(0), 4096).unwrap();
    assert_eq!((block.end, block.next_pos), (Offset(1), end));
    for (pos, end) in [(128, end - 1), (128, 128), (128, 100), (end, end + 40)] {
        let read = read_segment_block(&file, SALT, pos, end, Offset(pos / 200), 4096);
        let cut = matches!(
            read,
            Err(BlockError::Bad {
                fault: FrameFault::Cut,
                ..
            })
        );
        assert!(cut, "{pos}..{end}: {read:?}");
    }
    // The file may end before the end that was asked for.
    let read = read_segment_block(
        &latched(&image.bytes[..130]),
        SALT,
        128,
        4096,
        Offset(0),
        4096,
    );
    assert!(matches!(
        read,
        Err(BlockError::Bad {
            fault: FrameFault::Cut,
            ..
        })
    ));
}

#[test]
fn a_good_frame_of_another_offset_is_not_the_one_whose_turn_it_is() {
    let image = Image::counted(0, &[1, 2]);
    let file = latched(&image.bytes);
    let end = image.bytes.len() as u64;
    for wrong in [0, 2] {
        let at = image.starts[1] as u64;
        let read = read_segment_block(&file, SALT, at, end, Offset(wrong), 4096);
        let Err(BlockError::Bad { fault, .. }) = read else {
            panic!("{read:?}")
        };
        assert_eq!(fault, FrameFault::Base(Offset(1)));
    }
}

#[test]
fn a_great_length_in_a_damaged_head_allocates_nothing() {
    let mut image = Image::counted(0, &[1]);
    image.zeros(100_000);
    for body in [200_000, MAX_BODY as u32, u32::MAX] {
        image.bytes[132..136].copy_from_slice(&body.to_le_bytes());
        let (file, latched) = file_of(&image.bytes);
        let end = image.bytes.len() as u64;
        let read = read_segment_block(&latched, SALT, 128, end, Offset(0), 4096);
        assert!(matches!(read, Err(BlockError::Bad { .. })));
        assert!(file.longest_read() <= 4096);
    }
}

#[test]
fn the_next_good_frame_is_found_behind_damage_and_never_before_its_time() {
    let mut image = Image::counted(0, &[2, 2, 2, 2]);
    let next = |image: &Image, nth: usize| {
        let file = latched(&image.bytes);
        let from = image.starts[nth] as u64;
        let found = next_good(
            &file,
            SALT,
            from,
            image.bytes.len() as u64,
            Offset(nth as u64 * 2),
        );
        found.unwrap().map(|(at, head)| (at as usize, head.base.0))
    };
    assert_eq!(
        next(&image, 1),
        Some((image.starts[1], 2)),
        "a good one is its own next one"
    );
    image.damage(1, 0);
    assert_eq!(next(&image, 1), Some((image.starts[2], 4)));
    image.damage(2, 50);
    assert_eq!(next(&image, 1), Some((image.starts[3], 6)));
    image.damage(3, 50);
    assert_eq!(next(&image, 1), None);
}

proptest! {
    #[test]
    fn blocks_of_any_size_add_up_to_the_segment(
        sizes in prop::collection::vec(0usize..3000, 1..30), want in 0usize..9000,
    ) {
        let mut image = Image::new(9);
        for size in sizes {
            image.payload(vec![size as u8; size]);
        }
        let file = latched(&image.bytes);
        let end_byte = image.bytes.len() as u64;
        let (mut pos, mut offset, mut bytes) = (128, Offset(9), Vec::new());
        while pos < end_byte {
            let block = read_segment_block(&file, SALT, pos, end_byte, offset, want).unwrap();
            prop_assert_eq!(block.pos, pos);
            bytes.extend_from_slice(&block.bytes);
            (pos, offset) = (block.next_pos, block.end);
        }
        prop_assert_eq!(&bytes[..], &image.bytes[128..]);
        prop_assert_eq!(offset, image.end());
    }

    #[test]
    fn blocks_of_noise_are_faults(bytes in prop::collection::vec(any::<u8>(), 0..300), offset: u64) {
        prop_assert!(Block::of(bytes.into(), 128, SALT, Offset(offset)).is_err());
    }
}
