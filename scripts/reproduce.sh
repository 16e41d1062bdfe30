#!/usr/bin/env bash
# Train a row of docs/results.md again: scripts/reproduce.sh NAME FOLDER [SEED] [options of seq2seq.train]
# FOLDER holds the data sets, each in a folder of its public name, such as FOLDER/wnut17. Without arguments: the names.
set -euo pipefail
here=$PWD
cd "$(dirname "$0")/.."

# name, configuration, folder of the data
rows="
multi30k              translation_multi30k                    multi30k-en-de
multi30k_fixed        translation_multi30k_fixed              multi30k-en-de
en-ja                 translation_small-parallel-enja         small-parallel-enja
ja-en                 translation_small-parallel-enja         small-parallel-enja
morphemes             translation_segmentation-sigmorphon2022 segmentation-sigmorphon2022
phones                translation_g2p-sigmorphon2020_all      g2p-sigmorphon2020
phones_LANGUAGE       translation_g2p-sigmorphon2020          g2p-sigmorphon2020
forms_LANGUAGE_SIZE   translation_inflection-conll2018        inflection-conll2018
forms2023_LANGUAGE    translation_inflection-sigmorphon2023   inflection-sigmorphon2023
english               tagging_ud-english-ewt                  ud-english-ewt
uyghur                tagging_ud-uyghur-udt                   ud-uyghur-udt
vietnamese            tagging_ud-vietnamese-vtb               ud-vietnamese-vtb
wnut17                tagging_wnut17                          wnut17
trec                  classification_trec                     trec
sst2                  classification_sst2                     sst2
aeslc                 summarization_aeslc                     aeslc
"
if [ $# -lt 2 ]; then
    sed -n 2,3p "$0"
    awk 'NF { print "  " $1 }' <<<"$rows"
    exit 2
fi
name=$1 folder=$(cd "$here" && realpath "$2")
shift 2
seed=1
if [[ ${1:-} =~ ^[0-9]+$ ]]; then seed=$1; shift; fi

IFS=_ read -r _ language size <<<"$name"
case $name in
phones_*) row=phones_LANGUAGE files="{train: ${language}_train, validation: ${language}_dev, test: ${language}_test}" ;;
forms_*) row=forms_LANGUAGE_SIZE files="{train: $language-train-$size, validation: $language-dev, test: $language-test}" ;;
forms2023_*) row=forms2023_LANGUAGE files="{train: $language.trn, validation: $language.dev, test: $language.tst}" ;;
*) row=$name files= ;;
esac
read -r config data <<<"$(awk -v row="$row" '$1 == row { print $2, $3 }' <<<"$rows")"
if [ -z "$config" ]; then
    echo "there is no row $name; call $0 without arguments for the names" >&2
    exit 2
fi
more=()
[ -z "$files" ] || more+=(--data.corpus.init_args.files "$files")
[[ $name != forms_*_low && $name != forms_*_medium ]] || more+=(--trainer.max_steps 3000)
[ "$name" != ja-en ] || more+=(--data.corpus.init_args.source ja --data.corpus.init_args.target en)
python=.venv/bin/python
[ -x "$python" ] || python=python
exec "$python" -m seq2seq.train --config "configs/$config.yaml" --data.path "$folder/$data" --seed "$seed" \
    --run "runs/${name}_$seed" "${more[@]}" "$@"
