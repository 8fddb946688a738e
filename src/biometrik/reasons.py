"""Why an answer is what it is, in words for the person at the counter (English, Indonesian).

A :class:`Reason` is a stable code; :meth:`Reason.text` says what the operator should do. Quality, rejected
samples and decisions all speak with these, so that one table holds every sentence.
"""

from enum import Enum
from typing import Final, Literal

Locale = Literal["en", "id"]


class Reason(Enum):
    """A stable code for a cause that an operator can act on."""

    # a sample from which no template can be made
    NO_FACE = "NO_FACE"
    SEVERAL_FACES = "SEVERAL_FACES"
    IMAGE_UNREADABLE = "IMAGE_UNREADABLE"
    NO_FINGERPRINT = "NO_FINGERPRINT"
    SLAP_IMAGE = "SLAP_IMAGE"
    TOO_FEW_MINUTIAE = "TOO_FEW_MINUTIAE"
    # image quality (component names of ISO/IEC 29794-5)
    TOO_DARK = "TOO_DARK"
    TOO_BRIGHT = "TOO_BRIGHT"
    LOW_CONTRAST = "LOW_CONTRAST"
    UNEVEN_LIGHT = "UNEVEN_LIGHT"
    BLURRED = "BLURRED"
    FACE_TOO_SMALL = "FACE_TOO_SMALL"
    FACE_TOO_LARGE = "FACE_TOO_LARGE"
    FACE_OFF_CENTRE = "FACE_OFF_CENTRE"
    FACE_CUT_OFF = "FACE_CUT_OFF"
    LOOK_STRAIGHT = "LOOK_STRAIGHT"
    HEAD_TILTED = "HEAD_TILTED"
    UNNATURAL_COLOUR = "UNNATURAL_COLOUR"
    DETECTION_UNCERTAIN = "DETECTION_UNCERTAIN"
    FACE_UNCLEAR = "FACE_UNCLEAR"
    # fingerprint quality (component names of ISO/IEC 29794-4)
    PRESS_HARDER = "PRESS_HARDER"
    PRESS_SOFTER = "PRESS_SOFTER"
    KEEP_FINGER_STILL = "KEEP_FINGER_STILL"
    CLEAN_SENSOR = "CLEAN_SENSOR"
    WHOLE_FINGERTIP = "WHOLE_FINGERTIP"
    MOVE_FINGER_LEFT = "MOVE_FINGER_LEFT"
    MOVE_FINGER_RIGHT = "MOVE_FINGER_RIGHT"
    MOVE_FINGER_UP = "MOVE_FINGER_UP"
    MOVE_FINGER_DOWN = "MOVE_FINGER_DOWN"
    SAME_FINGER_TWICE = "SAME_FINGER_TWICE"
    # decisions
    QUALITY_TOO_LOW = "QUALITY_TOO_LOW"
    NO_USABLE_PROBE = "NO_USABLE_PROBE"
    NOTHING_IN_COMMON = "NOTHING_IN_COMMON"
    TOO_FEW_SAMPLES = "TOO_FEW_SAMPLES"
    NO_REFERENCE = "NO_REFERENCE"
    NO_THRESHOLD = "NO_THRESHOLD"
    EMPTY_GALLERY = "EMPTY_GALLERY"

    def text(self, locale: Locale = "en") -> str:
        """Return what the operator should do or know.

        Parameters
        ----------
        locale : {"en", "id"}
            English or Indonesian.

        Examples
        --------
        >>> Reason.TOO_DARK.text()
        'The face is too dark: add light from the front.'
        >>> Reason.TOO_DARK.text("id")
        'Wajah terlalu gelap: tambah cahaya dari depan.'
        """
        english, indonesian = _TEXTS[self]
        return indonesian if locale == "id" else english


_TEXTS: Final[dict[Reason, tuple[str, str]]] = {
    Reason.NO_FACE: (
        "No face found: face the camera, uncovered, and take the photograph again.",
        "Wajah tidak ditemukan: hadapkan wajah tanpa penutup ke kamera, lalu ambil foto lagi.",
    ),
    Reason.SEVERAL_FACES: (
        "Several faces: only one person may stand in front of the camera.",
        "Ada beberapa wajah: hanya satu orang boleh berada di depan kamera.",
    ),
    Reason.IMAGE_UNREADABLE: (
        "The image cannot be read: take or send the photograph again.",
        "Gambar tidak dapat dibaca: ambil atau kirim ulang foto.",
    ),
    Reason.NO_FINGERPRINT: (
        "No fingerprint found: clean the sensor and the finger, and place the finger flat on the middle.",
        "Sidik jari tidak ditemukan: bersihkan sensor dan jari, lalu letakkan jari rata di tengah.",
    ),
    Reason.SLAP_IMAGE: (
        "The image shows several fingers: present one finger at a time.",
        "Gambar memuat beberapa jari: tempelkan satu jari saja setiap kali.",
    ),
    Reason.TOO_FEW_MINUTIAE: (
        "Too little of the fingerprint can be read: place the whole fingertip, press evenly, and try again.",
        "Sidik jari terlalu sedikit terbaca: tempelkan seluruh ujung jari, tekan merata, lalu coba lagi.",
    ),
    Reason.TOO_DARK: (
        "The face is too dark: add light from the front.",
        "Wajah terlalu gelap: tambah cahaya dari depan.",
    ),
    Reason.TOO_BRIGHT: (
        "The face is too bright: reduce the light or the exposure.",
        "Wajah terlalu terang: kurangi cahaya atau pencahayaan kamera.",
    ),
    Reason.LOW_CONTRAST: (
        "The face has too little contrast: clean the lens and light the face evenly.",
        "Kontras wajah terlalu rendah: bersihkan lensa dan terangi wajah secara merata.",
    ),
    Reason.UNEVEN_LIGHT: (
        "One side of the face is in shadow: light both sides evenly.",
        "Satu sisi wajah tertutup bayangan: terangi kedua sisi secara merata.",
    ),
    Reason.BLURRED: (
        "The face is blurred: stand still, clean the lens, check the focus.",
        "Wajah kabur: berdiri diam, bersihkan lensa, periksa fokus.",
    ),
    Reason.FACE_TOO_SMALL: (
        "The face is too small: come closer to the camera.",
        "Wajah terlalu kecil: mendekatlah ke kamera.",
    ),
    Reason.FACE_TOO_LARGE: (
        "The face is too close: move back from the camera.",
        "Wajah terlalu dekat: mundurlah dari kamera.",
    ),
    Reason.FACE_OFF_CENTRE: (
        "The face is not in the middle: centre the face in the picture.",
        "Wajah tidak di tengah: posisikan wajah di tengah gambar.",
    ),
    Reason.FACE_CUT_OFF: (
        "The face is cut off at the edge: move so that the whole head is in the picture.",
        "Wajah terpotong di tepi: bergeserlah agar seluruh kepala terlihat.",
    ),
    Reason.LOOK_STRAIGHT: (
        "The head is turned: look straight into the camera.",
        "Kepala menoleh: lihat lurus ke kamera.",
    ),
    Reason.HEAD_TILTED: (
        "The head is tilted: hold the head upright.",
        "Kepala miring: tegakkan kepala.",
    ),
    Reason.UNNATURAL_COLOUR: (
        "The colours are unnatural: check the camera's white balance and remove coloured light.",
        "Warna tidak alami: periksa white balance kamera dan singkirkan cahaya berwarna.",
    ),
    Reason.DETECTION_UNCERTAIN: (
        "The face is hard to make out: remove what covers it and take the photograph again.",
        "Wajah sulit dikenali: lepaskan penutup wajah dan ambil foto lagi.",
    ),
    Reason.FACE_UNCLEAR: (
        "Too little of the face can be made out: uncover it, look into the camera in good light, and try again.",
        "Ciri wajah kurang jelas: buka penutup wajah, lihat ke kamera dengan cahaya cukup, lalu ambil foto lagi.",
    ),
    Reason.PRESS_HARDER: (
        "The print is faint and broken: press harder, and moisten a dry fingertip slightly.",
        "Sidik jari samar dan terputus: tekan lebih kuat, lembapkan sedikit ujung jari yang kering.",
    ),
    Reason.PRESS_SOFTER: (
        "The ridges run together: dry the finger and press more softly.",
        "Garis sidik jari menyatu: keringkan jari dan tekan lebih pelan.",
    ),
    Reason.KEEP_FINGER_STILL: (
        "The ridges are not clear: wipe the finger, put it down straight and keep it still.",
        "Garis sidik jari tidak jelas: lap jari, letakkan lurus dan jangan digerakkan.",
    ),
    Reason.CLEAN_SENSOR: (
        "The print has too little contrast: clean the sensor and the finger, and try again.",
        "Kontras sidik jari terlalu rendah: bersihkan sensor dan jari, lalu coba lagi.",
    ),
    Reason.WHOLE_FINGERTIP: (
        "Too little of the finger is seen: lay the whole fingertip flat on the middle of the sensor.",
        "Jari terlalu sedikit terlihat: letakkan seluruh ujung jari rata di tengah sensor.",
    ),
    Reason.MOVE_FINGER_LEFT: (
        "The print is cut off on the right: move the finger to the left.",
        "Sidik jari terpotong di kanan: geser jari ke kiri.",
    ),
    Reason.MOVE_FINGER_RIGHT: (
        "The print is cut off on the left: move the finger to the right.",
        "Sidik jari terpotong di kiri: geser jari ke kanan.",
    ),
    Reason.MOVE_FINGER_UP: (
        "The print is cut off at the bottom: move the finger forward.",
        "Sidik jari terpotong di bawah: majukan jari.",
    ),
    Reason.MOVE_FINGER_DOWN: (
        "The print is cut off at the tip: move the finger back.",
        "Sidik jari terpotong di ujung: mundurkan jari.",
    ),
    Reason.SAME_FINGER_TWICE: (
        "One finger was presented as two: check which finger is which and take both again.",
        "Satu jari ditempelkan sebagai dua jari: periksa jari yang diminta, lalu ambil ulang keduanya.",
    ),
    Reason.QUALITY_TOO_LOW: (
        "The sample is too poor to refuse anyone on it: take it again as advised.",
        "Mutu sampel terlalu rendah untuk menolak seseorang: ambil ulang sesuai petunjuk.",
    ),
    Reason.NO_USABLE_PROBE: (
        "None of the samples presented could be used: take them again as advised.",
        "Tidak ada sampel yang dapat dipakai: ambil ulang sesuai petunjuk.",
    ),
    Reason.NOTHING_IN_COMMON: (
        "What was presented is not what is enrolled: present a finger, or the face, that the person is enrolled with.",
        "Sampel tidak sesuai dengan data terdaftar: gunakan jari atau wajah yang terdaftar.",
    ),
    Reason.TOO_FEW_SAMPLES: (
        "Too few samples could be used for the error rate asked for: present another finger, or the face as well.",
        "Sampel terlalu sedikit untuk tingkat kesalahan yang diminta: tambahkan jari lain atau wajah.",
    ),
    Reason.NO_REFERENCE: (
        "This subject has no active reference to compare with: enrol again or check the papers.",
        "Subjek ini tidak memiliki acuan aktif: daftarkan ulang atau periksa dokumen.",
    ),
    Reason.NO_THRESHOLD: (
        "No error rate was asked for, so nothing was decided: an officer must judge the candidates.",
        "Tingkat kesalahan tidak diminta sehingga tidak ada keputusan: petugas harus menilai kandidat.",
    ),
    Reason.EMPTY_GALLERY: (
        "There is nobody to compare with in the galleries searched.",
        "Tidak ada orang untuk dibandingkan di galeri yang dicari.",
    ),
}
