"""Interchange formats of fingerprints: bounds-checked codecs between octets and frozen values.

Each module reads and writes the formats of one standard; :mod:`biometrik.formats.catalogue` tells formats apart and
shows a record field by field. Every codec translates units and angles to those of :mod:`biometrik.fingers`, refuses a
record that breaks its format with :class:`~biometrik.errors.RecordFormatError`, and can be told to be lenient
(``strict=False``): it then repairs what is commonly wrong in the field and lists each repair in ``notes``.
"""
