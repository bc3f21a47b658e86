//! Two frames at once.

use super::*;
use crate::warm::view::WarmView;

fn view(bytes: &[u8], image: &Image) -> WarmView {
    WarmView::of(latched(bytes), &identity(image), bytes.len() as u64).unwrap()
}

#[test]
fn every_byte_has_its_frame_and_the_other_one_of_its_pair_behind_it() {
    let mut met = [false; 2];
    for count in 30..50 {
        let image = sealed(&vec![4; count]);
        let bytes = warm(&image, SMALL);
        let view = view(&bytes, &image);
        let frames = view.index().frames();
        met[frames.len() % 2] = true;
        for pos in 0..image.bytes.len() as u64 {
            let pair = view.index().pair_at(pos);
            let nth = frames.iter().position(|frame| *frame == pair[0]).unwrap();
            assert_eq!(view.index().at(pos), pair.first());
            let is_whole = nth % 2 == 0 && nth + 1 < frames.len();
            assert_eq!(pair, &frames[nth..=nth + usize::from(is_whole)], "at {pos}");
        }
        assert!(view.index().pair_at(image.bytes.len() as u64).is_empty());
    }
    assert_eq!(
        met, [true; 2],
        "the last frame had another one, and had none"
    );
}

#[test]
fn a_frame_of_a_long_record_is_no_part_of_a_pair() {
    let mut image = Image::counted(7, &[2]);
    image
        .payload(vec![9; 3 * WARM_FRAME])
        .payload("behind")
        .seal();
    let bytes = warm(&image, SMALL);
    let view = view(&bytes, &image);
    let long = |frame: &WarmFrame| frame.plain_len as usize > 2 * WARM_FRAME;
    assert!(view.index().frames().iter().any(long));
    for frame in view.index().frames() {
        let pair = view.index().pair_at(frame.plain_pos);
        assert!(pair.len() == 1 || !pair.iter().any(long));
    }
}

#[test]
fn a_pair_decodes_to_what_its_frames_do_and_each_is_checked() {
    let image = sealed(&[4; 50]);
    let good = warm(&image, SMALL);
    let whole = view(&good, &image);
    let pair = whole.index().pair_at(0);
    let both = [0, 1].map(|nth| whole.frame(&pair[nth]).unwrap()).concat();
    assert_eq!(whole.frames(pair).unwrap(), both);
    for (nth, frame) in pair.iter().enumerate() {
        let mut bytes = good.clone();
        bytes[frame.stored_pos as usize + frame.stored_len as usize / 2] ^= 1;
        let view = view(&bytes, &image);
        let fault = view.frames(pair).unwrap_err();
        assert!(matches!(fault, WarmFault::Damaged(_)), "{nth}: {fault}");
        assert!(view.frame(&pair[1 - nth]).is_ok(), "the other one is good");
    }
    let lying = pair.iter().map(|frame| WarmFrame {
        plain_len: frame.plain_len + 1,
        ..*frame
    });
    let fault = whole.frames(&lying.collect::<Vec<_>>()).unwrap_err();
    assert!(matches!(fault, WarmFault::Damaged(_)), "{fault}");
    assert!(matches!(whole.frames(&[]), Err(WarmFault::Damaged(_))));
}
