# SPDX-License-Identifier: Apache-2.0
# bash completion of sluicectl; made by scripts/check-ctl --write from the command table.

# Names of datasets, as the configuration has them.
_sluicectl_datasets()
{
    local i file=/etc/sluiced/sluiced.yaml
    for ((i = 1; i < COMP_CWORD; i++)); do
        case ${COMP_WORDS[i]} in -c | --config) file=${COMP_WORDS[i + 1]} ;; esac
    done
    sed -n 's/^[ -]*as:[ "]*\([^ "#]*\).*/\1/p' "$file" 2>/dev/null
}

_sluicectl()
{
    local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]} command='' at=0 i
    local commands='datasets dataset schema preview batches files last doctor verify audit replay purge status top check health jobs trace backfill pause resume cancel retry skip priority set queue ddl fetch check-config config'
    local options='--config --json --help --version' values=''
    COMPREPLY=()
    case $before in
    -c | --config) mapfile -t COMPREPLY < <(compgen -f -- "$word"); return ;;
    --aep-endpoint | --confirm | --credential | --crit-lag | --endpoint | --from | --generation | --ims-endpoint | --limit | --name | --since | --status | --to | --warn-lag) return ;;
    esac
    for ((i = 1; i < COMP_CWORD; i++)); do
        case ${COMP_WORDS[i]} in
        -c | --config | --aep-endpoint | --confirm | --credential | --crit-lag | --endpoint | --from | --generation | --ims-endpoint | --limit | --name | --since | --status | --to | --warn-lag) ((i++)) ;;
        -*) ;;
        *) [ -n "$command" ] && ((++at)) || command=${COMP_WORDS[i]} ;;
        esac
    done
    case $command:$at in
    :0) values=$commands ;;
    dataset:0) values="$(_sluicectl_datasets)" ;;
    schema:0) values="$(_sluicectl_datasets)" ;;
    preview:0) values="$(_sluicectl_datasets)" ;;
    batches:0) values="$(_sluicectl_datasets)" ;;
    last:0) values="$(_sluicectl_datasets)" ;;
    verify:0) values="$(_sluicectl_datasets)" ;;
    replay:0) values="$(_sluicectl_datasets)" ;;
    purge:0) values="$(_sluicectl_datasets)" ;;
    jobs:0) values="$(_sluicectl_datasets)" ;;
    backfill:0) values="$(_sluicectl_datasets)" ;;
    backfill:3) values="again" ;;
    pause:0) values="$(_sluicectl_datasets)" ;;
    resume:0) values="$(_sluicectl_datasets)" ;;
    priority:1) values="live backfill" ;;
    set:0) values="$(_sluicectl_datasets)" ;;
    set:1) values="max_f max_x" ;;
    set:2) values="none" ;;
    queue:0) values="install" ;;
    ddl:0) values="athena" ;;
    ddl:1) values="$(_sluicectl_datasets)" ;;
    config:0) values="show" ;;
    config:2) values="schema" ;;
    esac
    case $command in
    datasets) options+=' --name --all' ;;
    schema) options+=' --observed' ;;
    preview) options+=' --limit' ;;
    batches) options+=' --from --to --status --failed --export --limit' ;;
    verify) options+=' --deep --generation' ;;
    purge) options+=' --confirm' ;;
    top) options+=' --once' ;;
    check) options+=' --warn-lag --crit-lag' ;;
    backfill) options+=' --plan' ;;
    fetch) options+=' --since --credential --endpoint --aep-endpoint --ims-endpoint' ;;
    config) options+=' --effective --origins' ;;
    esac
    [[ $word == -* ]] && values=$options
    mapfile -t COMPREPLY < <(compgen -W "$values" -- "$word")
}
complete -F _sluicectl sluicectl
