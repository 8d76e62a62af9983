"""Draws the sample clips and the photo that jobs.example.csv names, so that nobody's footage is needed to try reelq."""

import math
import random
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import imageio_ffmpeg
from PIL import Image, ImageDraw, ImageFont

HERE: Final = Path(__file__).parent
RATE: Final = 24
FINER: Final = 2  # drawn at twice the size and scaled down: Pillow's shapes have hard edges

Colour = tuple[int, int, int]
Canvas = ImageDraw.ImageDraw
Draw = Callable[[Canvas, float], None]

NIGHT: Final = (16, 20, 48)
SKIN: Final = (244, 200, 164)
INK: Final = (52, 38, 44)


@dataclass(frozen=True)
class Clip:
    """A clip to make: what draws a moment of it, and what it sounds like (an ffmpeg expression; empty for silence)."""

    name: str
    title: str
    size: tuple[int, int]
    seconds: int
    backdrop: tuple[Colour, Colour]
    draw: Draw
    sound: str = ""


def gradient(size: tuple[int, int], top: Colour, bottom: Colour) -> Image.Image:
    """A picture that goes from one colour to another, top to bottom."""
    column = Image.new("RGB", (1, 2))
    column.putdata([top, bottom])
    return column.resize(size, Image.Resampling.BICUBIC, box=(0, 0.5, 1, 1.5))


def circle(canvas: Canvas, x: float, y: float, radius: float, colour: Colour) -> None:
    """A filled circle by its centre."""
    canvas.ellipse((x - radius, y - radius, x + radius, y + radius), fill=colour)


def mix(one: Colour, other: Colour, share: float) -> Colour:
    """The colour between two, `share` of the way to the other."""
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(one, other, strict=True))
    return red, green, blue


def beach(canvas: Canvas, moment: float) -> None:
    """A low sun over a sea whose waves roll in, and a boat that crosses it."""
    for ring in range(6, 0, -1):
        circle(canvas, 900, 300 + 40 * moment, 84 + 22 * ring, mix((255, 224, 150), (250, 150, 110), ring / 6))
    circle(canvas, 900, 300 + 40 * moment, 84, (255, 243, 205))
    for wave in range(5):
        level, swing = 400 + 66 * wave, 10 + 4 * wave
        crest = [
            (x, level + swing * math.sin(x / (90 + 14 * wave) + 2 * math.pi * moment * (1 + wave % 2) + wave))
            for x in range(0, 1301, 20)
        ]
        canvas.polygon([*crest, (1300, 720), (0, 720)], fill=mix((64, 150, 178), (12, 58, 104), wave / 4))
        if wave == 0:
            boat(canvas, 180 + 420 * moment, 430 + 8 * math.sin(4 * math.pi * moment))


def boat(canvas: Canvas, x: float, y: float) -> None:
    """A boat with one sail."""
    canvas.polygon([(x - 70, y), (x + 70, y), (x + 44, y + 36), (x - 44, y + 36)], fill=(122, 62, 46))
    canvas.polygon([(x, y - 150), (x, y - 10), (x + 76, y - 10)], fill=(255, 250, 240))
    canvas.polygon([(x - 8, y - 128), (x - 8, y - 10), (x - 56, y - 10)], fill=(246, 220, 196))


def city(canvas: Canvas, moment: float) -> None:
    """A skyline at night: windows go on and off, cars go by."""
    chance = random.Random(7)
    for _ in range(50):
        x, y = chance.randrange(1280), chance.randrange(300)
        circle(canvas, x, y, chance.choice((2, 2, 3)), mix(NIGHT, (255, 255, 255), chance.uniform(0.4, 0.9)))
    circle(canvas, 1060, 130, 58, (246, 240, 214))
    circle(canvas, 1036, 116, 54, (24, 28, 66))
    left = -20
    while left < 1280:
        width, height = chance.randrange(90, 170), chance.randrange(170, 430)
        house(canvas, (left, 610 - height, left + width, 610), chance, moment)
        left += width + 6
    canvas.rectangle((0, 610, 1280, 720), fill=(30, 30, 44))
    for car in range(6):
        colour = ((230, 84, 78), (88, 168, 230), (240, 196, 84))[car % 3]
        back = (car * 260 + 900 * moment) % 1500 - 120
        canvas.rounded_rectangle((back, 646, back + 92, 676), 14, fill=colour)
        circle(canvas, back + 92, 662, 6, (255, 250, 210))


def house(canvas: Canvas, box: tuple[float, float, float, float], chance: random.Random, moment: float) -> None:
    """One house front; every window has a moment at which it changes."""
    left, top, right, bottom = box
    canvas.rectangle(box, fill=mix((40, 44, 92), (58, 48, 100), chance.random()))
    for y in range(int(top) + 16, int(bottom) - 24, 34):
        for x in range(int(left) + 12, int(right) - 20, 26):
            lit = chance.random() < 0.5
            changes = chance.random() < 0.12 and moment > chance.random()
            colour = (255, 214, 120) if lit != changes else (34, 36, 74)
            canvas.rectangle((x, y, x + 12, y + 18), fill=colour)


def desk(canvas: Canvas, moment: float) -> None:
    """A table with a plant, a steaming red cup to be removed, and a ball that rolls past."""
    canvas.rectangle((0, 470, 1280, 720), fill=(176, 124, 84))
    for grain in range(5):
        canvas.line((0, 500 + 46 * grain, 1280, 508 + 46 * grain), fill=(160, 110, 74), width=4)
    canvas.rounded_rectangle((140, 330, 270, 490), 18, fill=(226, 226, 232))
    for leaf in range(7):
        lean = (leaf - 3) * 0.28 + 0.05 * math.sin(2 * math.pi * moment + leaf)
        tip = (205 + 210 * math.sin(lean), 330 - 210 * math.cos(lean))
        canvas.polygon([(190, 330), (220, 330), tip], fill=mix((58, 130, 84), (112, 176, 96), leaf % 3 / 2))
    circle(canvas, 330 + 520 * moment, 610, 46, (250, 190, 70))
    spin = 10 * math.pi * moment / 2
    circle(canvas, 330 + 520 * moment + 24 * math.cos(spin), 610 + 24 * math.sin(spin), 10, (214, 140, 40))
    cup(canvas, moment)


def cup(canvas: Canvas, moment: float) -> None:
    """A red cup, steaming."""
    canvas.ellipse((1010, 360, 1100, 470), outline=(196, 44, 52), width=22)
    canvas.rounded_rectangle((860, 330, 1050, 520), 34, fill=(214, 54, 60))
    canvas.ellipse((862, 312, 1048, 356), fill=(236, 92, 92))
    canvas.ellipse((880, 320, 1030, 350), fill=(84, 48, 34))
    for wisp in range(3):
        points = [
            (905 + 50 * wisp + 12 * math.sin(rise / 22 + 4 * math.pi * moment + wisp), 300 - rise)
            for rise in range(0, 130, 8)
        ]
        canvas.line(points, fill=(250, 244, 236), width=9, joint="curve")


def talk(canvas: Canvas, moment: float) -> None:
    """Somebody who speaks to the camera, with a pause in the middle."""
    speaking = moment < 0.4 or moment > 0.6
    mouth = 10 + 26 * abs(math.sin(22 * math.pi * moment)) if speaking else 8
    sway = 8 * math.sin(2 * math.pi * moment)
    canvas.ellipse((60 + sway, 920, 660 + sway, 1500), fill=(64, 132, 148))
    canvas.rectangle((300 + sway, 800, 420 + sway, 960), fill=mix(SKIN, INK, 0.12))
    face(canvas, 360 + sway, 620, 1.0, hair=(92, 58, 40), mouth=mouth, blink=abs(moment - 0.5) < 0.03)


def face(canvas: Canvas, x: float, y: float, scale: float, *, hair: Colour, mouth: float, blink: bool = False) -> None:
    """A friendly face from the front, about its centre."""

    def box(left: float, top: float, right: float, bottom: float) -> tuple[float, float, float, float]:
        return x + left * scale, y + top * scale, x + right * scale, y + bottom * scale

    canvas.ellipse(box(-232, -280, 232, 150), fill=hair)
    for side in (-1, 1):
        circle(canvas, x + side * 196 * scale, y + 10 * scale, 42 * scale, mix(SKIN, INK, 0.08))
    canvas.ellipse(box(-195, -225, 195, 245), fill=SKIN)
    canvas.chord(box(-212, -270, 212, 120), 198, 342, fill=hair)
    for side in (-1, 1):
        canvas.ellipse(box(side * 118 - 38, 62, side * 118 + 38, 112), fill=mix(SKIN, (236, 110, 100), 0.35))
        canvas.arc(box(side * 80 - 42, -92, side * 80 + 42, -40), 200, 340, fill=hair, width=round(10 * scale))
        eye(canvas, box(side * 80 - 26, -42, side * 80 + 26, 26), open_=not blink)
    canvas.arc(box(-24, 20, 24, 76), 20, 160, fill=mix(SKIN, INK, 0.35), width=round(8 * scale))
    canvas.chord(box(-78, 128 - mouth, 78, 128 + mouth), 0, 180, fill=(150, 52, 60))
    canvas.arc(box(-82, 92, 82, 164), 12, 168, fill=(150, 52, 60), width=round(9 * scale))


def eye(canvas: Canvas, box: tuple[float, float, float, float], *, open_: bool) -> None:
    """An eye, open or shut."""
    left, top, right, bottom = box
    if not open_:
        canvas.line((left, (top + bottom) / 2, right, (top + bottom) / 2), fill=INK, width=8)
        return
    canvas.ellipse(box, fill=(255, 255, 255))
    radius = (right - left) * 0.32
    circle(canvas, (left + right) / 2, (top + bottom) / 2 + radius * 0.3, radius, INK)
    circle(canvas, (left + right) / 2 + radius * 0.4, (top + bottom) / 2 - radius * 0.2, radius * 0.3, (255, 255, 255))


CLIPS: Final = (
    Clip("beach", "BEACH", (640, 360), 5, ((252, 186, 128), (255, 226, 178)), beach),
    Clip("city", "CITY BY NIGHT", (640, 360), 5, (NIGHT, (58, 40, 96)), city, "0.05*sin(2*PI*t*(220+20*floor(t*2)))"),
    Clip("desk", "DESK", (640, 360), 4, ((250, 232, 206), (240, 210, 176)), desk),
    Clip(
        "talk",
        "TALK",
        (360, 640),
        5,
        ((196, 222, 214), (150, 190, 196)),
        talk,
        "0.08*sin(2*PI*t*180)*gt(abs(t-2.5),0.5)",
    ),
)


def frame(clip: Clip, moment: float) -> Image.Image:
    """The picture of a clip at a moment between 0 and 1, titled in its first third."""
    width, height = clip.size
    picture = gradient((width * FINER, height * FINER), *clip.backdrop)
    canvas = ImageDraw.Draw(picture)
    clip.draw(canvas, moment)
    if moment < 1 / 3:
        font = ImageFont.load_default(72)
        middle = (width * FINER / 2, 96)
        canvas.text(middle, clip.title, fill=(255, 255, 255), font=font, anchor="mm", stroke_width=3, stroke_fill=INK)
    return picture.resize(clip.size, Image.Resampling.LANCZOS)


def encode(clip: Clip) -> None:
    """Write one clip, the same bytes every time."""
    width, height = clip.size
    sound = ["-f", "lavfi", "-i", f"aevalsrc='{clip.sound}':d={clip.seconds}:s=32000"] if clip.sound else []
    command = [
        *(imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-y"),
        *("-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}", "-r", str(RATE), "-i", "-", *sound),
        *("-c:v", "libx264", "-preset", "veryslow", "-crf", "29", "-pix_fmt", "yuv420p", "-threads", "1"),
        *("-c:a", "aac", "-b:a", "32k", "-fflags", "+bitexact", "-flags:v", "+bitexact", "-flags:a", "+bitexact"),
        *("-movflags", "+faststart", str(HERE / f"{clip.name}.mp4")),
    ]
    frames = clip.seconds * RATE
    pictures = b"".join(frame(clip, number / frames).tobytes() for number in range(frames))
    subprocess.run(command, input=pictures, check=True)


def photo() -> None:
    """Write the reference photo: another face, from the front."""
    picture = gradient((960, 960), (250, 214, 190), (236, 170, 160))
    canvas = ImageDraw.Draw(picture)
    canvas.ellipse((170, 800, 790, 1400), fill=(120, 84, 150))
    canvas.rectangle((415, 660, 545, 850), fill=mix(SKIN, INK, 0.12))
    face(canvas, 480, 470, 1.08, hair=(206, 92, 48), mouth=34)
    picture.resize((480, 480), Image.Resampling.LANCZOS).save(HERE / "face.jpg", quality=88, optimize=True)


def main() -> None:
    """Make all of them."""
    for clip in CLIPS:
        encode(clip)
    photo()


if __name__ == "__main__":
    main()
