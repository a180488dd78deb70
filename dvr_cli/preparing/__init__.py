"""From raw photographs or a video to a scene with known cameras: what `dvr prepare` does.

Photographs are listed (or frames chosen), features found and matched, poses solved, photographs undistorted, and all of
it judged. Each stage leaves its result in OUT/work with a fingerprint of what it was made from; what is there is done.
"""
