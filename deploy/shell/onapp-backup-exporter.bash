# Completion for bash; generated from the parser by `make docs`, do not edit.
_onapp_backup_exporter() {
    local word=${COMP_WORDS[COMP_CWORD]} flag=${COMP_WORDS[COMP_CWORD-1]}
    local command= each words
    # In --flag=value the sign is a word of its own.
    if [[ $word == "=" ]]; then
        word=
    elif [[ $flag == "=" ]]; then
        flag=${COMP_WORDS[COMP_CWORD-2]}
    fi
    for each in "${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
        case $each in demo | check | once | healthcheck) command=$each ;; esac
    done
    case $flag in
    --config.file)
        compopt -o filenames
        mapfile -t COMPREPLY < <(compgen -f -- "$word")
        return
        ;;
    --config.auto-reload-interval) return ;;
    --web.listen-address) return ;;
    --web.telemetry-path) return ;;
    --web.config.file)
        compopt -o filenames
        mapfile -t COMPREPLY < <(compgen -f -- "$word")
        return
        ;;
    --web.max-requests) return ;;
    --log.level) words="debug info warn error" ;;
    --log.format) words="logfmt json" ;;
    --shard) return ;;
    --total-shards) return ;;
    --servers) return ;;
    --format) words="table json" ;;
    --output)
        compopt -o filenames
        mapfile -t COMPREPLY < <(compgen -f -- "$word")
        return
        ;;
    --timeout) return ;;
    *)
        case $command in
        demo) words="--web.listen-address --web.telemetry-path --web.config.file --web.max-requests --log.level --log.format --shard --total-shards --servers --help --version" ;;
        check) words="--config.file --log.level --log.format --shard --total-shards --format --timeout --help --version" ;;
        once) words="--config.file --log.level --log.format --shard --total-shards --output --timeout --help --version" ;;
        healthcheck) words="--web.listen-address --web.config.file --ready --help --version" ;;
        *) words="demo check once healthcheck --config.file --config.check --config.enable-auto-reload --config.auto-reload-interval --web.listen-address --web.systemd-socket --web.telemetry-path --web.config.file --web.max-requests --log.level --log.format --shard --total-shards --help --version" ;;
        esac
        ;;
    esac
    mapfile -t COMPREPLY < <(compgen -W "$words" -- "$word")
}
complete -F _onapp_backup_exporter onapp-backup-exporter
