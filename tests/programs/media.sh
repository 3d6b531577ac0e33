# packages: ffmpeg
ffmpeg -v error -f lavfi -i testsrc=size=160x120:rate=10:duration=2 -f lavfi -i sine=duration=2 -c:v mpeg4 -c:a mp2 -threads 2 -bitexact v.mkv && ffprobe -v error -show_entries stream=codec_name,nb_read_frames -count_frames -of csv v.mkv
ffmpeg -v error -threads 2 -i v.mkv -f framemd5 -bitexact - | tail -n 3; ffmpeg -v error -i v.mkv -vf scale=80:60 -f rawvideo - | wc -c
