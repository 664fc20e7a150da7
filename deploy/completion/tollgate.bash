_tollgate()
{
	local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]}
	local verb name kind words= wanted=
	if [ "$word" = = ]; then
		word=
	elif [ "$before" = = ]; then
		before=${COMP_WORDS[COMP_CWORD - 2]}
	fi
	if [ "$COMP_CWORD" = 1 ]; then
		words=$_tollgate_commands
	else
		while read -r verb name kind; do
			case $verb in
			option)
				[ "$name" != "$before" ] || [ "$kind" = none ] || { wanted=$kind words=; break; }
				words+=" $name"
				;;
			word) [ "$COMP_CWORD" != 2 ] || { wanted=none words=$name; } ;;
			rest) [ -n "$wanted" ] || [ "${word:0:1}" = - ] || wanted=$name ;;
			esac
		done < <(_tollgate_grammar "${COMP_WORDS[1]}")
	fi
	case $wanted in
	files) compopt -o filenames; mapfile -t COMPREPLY < <(compgen -f -- "$word") ;;
	directories) compopt -o filenames; mapfile -t COMPREPLY < <(compgen -d -- "$word") ;;
	text) COMPREPLY=() ;;
	choices:*) wanted=${wanted#choices:}; mapfile -t COMPREPLY < <(compgen -W "${wanted//,/ }" -- "$word") ;;
	*) mapfile -t COMPREPLY < <(compgen -W "$words" -- "$word") ;;
	esac
}
complete -F _tollgate tollgate
