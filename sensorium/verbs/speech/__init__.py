"""Speech to text: a recording's spectrogram, the long-form algorithm, words, files of subtitles."""
